"""``papsms ledger`` on real files: list, show, purge and resolve."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from papsms_async.cli.failures import CommandError
from papsms_async.cli.ledger_command import parse_age
from papsms_async.ledger import Ledger, LedgerEntry, open_ledger
from papsms_async.lifecycle import State
from papsms_async.models import Sms

Command = Callable[..., Any]

NOW = datetime.now(UTC)
NUMBER, CODE, TEXT = "+14155550123", "847291", "Your code: 847291"


def entry(name: str, state: State, **fields: Any) -> LedgerEntry:
    """Return a purchase; one that was bought has a number and a price."""
    bought: dict[str, Any] = {}
    if state not in (State.SENDING, State.UNKNOWN, State.REFUSED):
        bought = {
            "activation_id": f"a-{name}",
            "phone_number": NUMBER,
            "cost": Decimal("0.80"),
            "expires_at": NOW + timedelta(minutes=20),
        }
    values: dict[str, Any] = {
        "intent_id": f"{name}-intent",
        "state": state,
        "service": "whatsapp",
        "country": "us",
        "created_at": NOW,
        "updated_at": NOW,
        **bought,
        **fields,
    }
    return LedgerEntry(**values)


def on_ledger(path: Path | str, work: Callable[[Ledger], Awaitable[Any]]) -> Any:
    """Do something with a ledger file."""

    async def open_and_do() -> Any:
        ledger = open_ledger(str(path))
        await ledger.open()
        try:
            return await work(ledger)
        finally:
            await ledger.aclose()

    return asyncio.run(open_and_do())


def write(path: Path | str, *entries: LedgerEntry) -> None:
    """Write purchases into a ledger file."""

    async def add(ledger: Ledger) -> None:
        for one in entries:
            await ledger.add(one)

    on_ledger(path, add)


def read(path: Path | str, intent_id: str) -> LedgerEntry:
    """Read one purchase of a ledger file."""
    found = on_ledger(path, lambda ledger: ledger.get(intent_id))
    assert isinstance(found, LedgerEntry)
    return found


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fill a ledger file once, with a purchase in every state."""
    path = tmp_path_factory.mktemp("filled") / "ledger.db"
    sms = Sms(code=CODE, full_text=TEXT, received_at=NOW)
    entries = [
        entry(
            state.value,
            state,
            sms=sms if state in (State.RECEIVED, State.COMPLETED) else None,
            reference=f"ref-{state.value}",
        )
        for state in State
    ]
    write(path, *entries)
    return path


@pytest.fixture
def ledger(filled: Path, tmp_path: Path) -> Path:
    """Return a ledger file of the test's own, with a purchase in every state."""
    return Path(shutil.copy2(filled, tmp_path / "ledger.db"))


# list --------------------------------------------------------------------------------------------


def test_list_as_json_is_one_array(command: Command, ledger: Path) -> None:
    """--json gives one array with every purchase, its ids, its state and its price as text."""
    ended = command("ledger", "list", "--database", f"sqlite:///{ledger}", "--json")
    assert (ended.code, ended.err) == (0, "")
    records = json.loads(ended.out)
    assert [record["state"] for record in records] == [state.value for state in State]
    by_state = {record["state"]: record for record in records}
    assert (
        by_state["waiting"]
        | {
            "intent_id": "waiting-intent",
            "activation_id": "a-waiting",
            "cost": "0.80",
            "worst_price": "3.00",
            "committed": "0.80",
            "service": "whatsapp",
            "country": "us",
            "reference": "ref-waiting",
            "tenant": None,
            "reason": None,
            "sms": False,
            "sms_at": None,
        }
        == by_state["waiting"]
    )
    assert by_state["unknown"]["cost"] is None
    assert by_state["unknown"]["activation_id"] is None
    for name in ("created_at", "updated_at", "expires_at"):
        assert datetime.fromisoformat(by_state["waiting"][name]).tzinfo is not None


@pytest.mark.parametrize("as_json", [True, False])
def test_secrets_are_shown_on_demand_only(command: Command, ledger: Path, as_json: bool) -> None:
    """Numbers are masked and codes left out unless --show-secrets asks for them."""
    args = ("ledger", "list", "--database", str(ledger), *(["--json"] if as_json else []))
    hidden = command(*args).out
    assert NUMBER not in hidden
    assert CODE not in hidden
    assert CODE in command(*args, "--show-secrets").out
    shown = command("ledger", "show", "a-completed", "--database", str(ledger)).out
    assert NUMBER not in shown
    assert CODE not in shown
    ended = command("ledger", "show", "a-completed", "--database", str(ledger), "--show-secrets")
    assert NUMBER in ended.out
    assert TEXT in ended.out


@pytest.mark.parametrize(
    ("args", "states"),
    [
        (("--state", "unknown"), ["unknown"]),
        (("--state", "unknown", "--state", "expired"), ["unknown", "expired"]),
        (("--open",), ["sending", "waiting", "received", "completing", "cancelling"]),
        (("--open", "--state", "unknown", "--reference", "ref-unknown"), ["unknown"]),
        (("--reference", "ref-completed"), ["completed"]),
        (("--reference", "nobody's"), []),
    ],
)
def test_list_can_be_narrowed(
    command: Command, ledger: Path, args: tuple[str, ...], states: list[str]
) -> None:
    """States, --open and --reference narrow the list."""
    ended = command("ledger", "list", "--database", str(ledger), "--json", *args)
    assert [record["state"] for record in json.loads(ended.out)] == states


def test_table_is_plain_and_80_columns_wide(command: Command, ledger: Path) -> None:
    """In a pipe the table has no colours, fits into 80 columns, and ends with the sum."""
    ended = command("ledger", "list", "--database", str(ledger))
    lines = ended.out.splitlines()
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in ended.out
    assert lines[-1] == "10 purchases, $10.00 spent or reserved"
    assert "a-waiting" in ended.out
    assert "<=$3.00" in ended.out


def test_control_characters_do_nothing_to_a_terminal(command: Command, tmp_path: Path) -> None:
    """What a service or a file put into a name can't steer the terminal."""
    path = tmp_path / "evil.db"
    write(path, entry("e", State.WAITING, activation_id="a\x1b[2J", reference="r\x07\x9b"))
    for args in (("list",), ("show", "e-intent")):
        ended = command("ledger", *args, "--database", str(path))
        assert ended.code == 0
        assert not any(char in ended.out for char in "\x1b\x07\x9b")


@pytest.mark.parametrize("name", ["typo.db", "sqlite:///typo.db", "sqlite:////no/such/typo.db"])
@pytest.mark.parametrize(
    "words",
    [
        ("ledger", "list"),
        ("ledger", "list", "--json"),
        ("ledger", "show", "abcd"),
        ("ledger", "purge", "--older-than", "1d"),
        ("ledger", "resolve", "abcd", "--not-bought"),
        ("recover",),
        ("recover", "--dry-run", "--json"),
        ("report",),
        ("report", "--json"),
        ("webhook", "list"),
    ],
    ids=" ".join,
)
def test_mistyped_name_is_no_empty_ledger(
    command: Command, tmp_path: Path, words: tuple[str, ...], name: str
) -> None:
    """A name without a ledger is told, whatever is asked of it, and no file is left behind."""
    ended = command(*words, "--database", name)
    assert (ended.code, ended.out) == (6, "")
    path = name.removeprefix("sqlite:///") if "no/such" in name else tmp_path / "typo.db"
    assert ended.err == f"papsms: the ledger {path} does not exist\n"
    assert os.listdir(tmp_path) == []


def test_database_of_another_program_is_left_alone(command: Command, tmp_path: Path) -> None:
    """A file of SQLite's that holds no ledger is told, and gets no table."""
    with closing(sqlite3.connect(tmp_path / "other.db")) as other:
        other.execute("CREATE TABLE songs (name TEXT)")
        other.commit()
    ended = command("ledger", "list", "--database", "other.db")
    assert (ended.code, ended.out) == (6, "")
    assert ended.err == (
        f"papsms: the ledger {tmp_path}/other.db does not exist: the database has none\n"
    )
    with closing(sqlite3.connect(tmp_path / "other.db")) as other:
        assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("songs",)]


def test_ledger_whose_making_was_cut_short_is_empty(command: Command, tmp_path: Path) -> None:
    """Of a process that was killed before it made the tables nothing is missed."""
    (tmp_path / "begun.db").touch(mode=0o600)
    ended = command("ledger", "list", "--database", "begun.db")
    assert (ended.code, ended.out, ended.err) == (0, "no purchases\n", "")


def test_own_ledger_is_empty_before_the_first_purchase(command: Command, tmp_path: Path) -> None:
    """Nobody mistyped it: it is made by the first purchase."""
    ended = command("ledger", "list", "--json")
    assert (ended.code, ended.out) == (0, "[]\n")
    own = tmp_path / "data" / "papsms-async" / "papsms.db"
    assert ended.err == f"papsms: there is no ledger at {own} yet: papsms run and verify make it\n"
    assert not own.exists()


def test_default_ledger_is_that_of_run(command: Command, tmp_path: Path) -> None:
    """Without --database it is the file that papsms run and verify keep."""
    own = tmp_path / "data" / "papsms-async"
    own.mkdir(parents=True)
    write(own / "papsms.db", entry("mine", State.COMPLETED))
    [record] = json.loads(command("ledger", "list", "--json").out)
    assert record["activation_id"] == "a-mine"


@pytest.mark.parametrize(
    ("content", "database", "code", "words"),
    [
        (b"no database at all" * 99, "broken.db", 6, "is not an SQLite database"),
        (None, "none", 2, "this command is about a ledger"),
        (None, "mysql://x/y", 2, "a database is a file's path"),
    ],
)
def test_unusable_ledgers_give_one_sentence(
    command: Command,
    tmp_path: Path,
    content: bytes | None,
    database: str,
    code: int,
    words: str,
) -> None:
    """A ledger that can't be used ends every command with one sentence."""
    if content is not None:
        (tmp_path / "broken.db").write_bytes(content)
        (tmp_path / "broken.db").chmod(0o600)
    for args in (("ledger", "list"), ("report",), ("recover",)):
        ended = command(*args, "--database", database)
        assert ended.code == code
        assert len(ended.err.splitlines()) == 1
        assert words in ended.err


# show --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["waiting-intent", "a-waiting", "waiting"])
def test_show_finds_by_either_id(command: Command, ledger: Path, word: str) -> None:
    """An intent id, its beginning, and an activation id name a purchase."""
    ended = command("ledger", "show", word, "--database", str(ledger), "--json")
    record = json.loads(ended.out)
    assert record["intent_id"] == "waiting-intent"
    assert [event["event"] for event in record["history"]] == ["intent"]


def test_show_refuses_what_it_does_not_find(command: Command, ledger: Path) -> None:
    """An id that fits none, or several, ends with one sentence and status 1."""
    ended = command("ledger", "show", "nothing", "--database", str(ledger))
    assert (ended.code, ended.err) == (1, "papsms: the ledger has no purchase nothing\n")
    write(ledger, entry("waiting-too", State.WAITING))
    ended = command("ledger", "show", "waiting", "--database", str(ledger))
    assert ended.code == 1
    assert ended.err.startswith("papsms: the ledger has 2 purchases waiting;")


# purge -------------------------------------------------------------------------------------------


def test_purge_forgets_old_ends_only(command: Command, tmp_path: Path) -> None:
    """What ended long ago is forgotten with its money kept; the rest stays; a dry run forgets
    nothing.
    """
    path = tmp_path / "ledger.db"
    old = NOW - timedelta(days=31)
    write(
        path,
        *(entry(f"old-{s.value}", s, created_at=old, updated_at=old) for s in State),
        entry("new", State.COMPLETED),
    )
    before = on_ledger(path, lambda ledger: ledger.committed())
    args = ("ledger", "purge", "--older-than", "30d", "--database", str(path))
    assert command(*args, "--dry-run").out.startswith("would forget 4 purchases that ended before")
    assert len(on_ledger(path, lambda ledger: ledger.entries())) == 11
    assert command(*args).out.startswith("forgot 4 purchases")
    left = on_ledger(path, lambda ledger: ledger.entries())
    assert {one.state.value for one in left} == {
        "sending",
        "unknown",
        "waiting",
        "received",
        "completing",
        "cancelling",
        "completed",
    }
    assert on_ledger(path, lambda ledger: ledger.committed()) == before
    assert command(*args).out.startswith("forgot 0 purchases")


@pytest.mark.parametrize(("text", "hours"), [("12h", 12), ("30d", 720), ("2w", 336), (" 0d ", 0)])
def test_ages_are_hours_days_or_weeks(text: str, hours: int) -> None:
    """An age is a whole number of hours, days or weeks."""
    assert NOW - parse_age(text, NOW) == timedelta(hours=hours)


@pytest.mark.parametrize("text", ["", "30", "d", "-1d", "1.5d", "1m", "30 d", "999999999w", "٣d x"])
def test_other_ages_are_refused(text: str) -> None:
    """Anything else is refused, also what is before all time."""
    with pytest.raises(CommandError):
        parse_age(text, NOW)


def test_purge_needs_an_age(command: Command, ledger: Path) -> None:
    """Nothing is forgotten by default."""
    assert command("ledger", "purge", "--database", str(ledger)).code == 2


# resolve -----------------------------------------------------------------------------------------


def test_not_bought_costs_nothing(command: Command, ledger: Path) -> None:
    """An unknown purchase that was not made ends as refused, and its history says who did it."""
    ended = command("ledger", "resolve", "unknown", "--not-bought", "--database", str(ledger))
    assert (ended.code, ended.out) == (0, "unknown- was not bought: it costs nothing\n")
    settled = read(ledger, "unknown-intent")
    assert settled.state is State.REFUSED
    assert settled.committed == 0
    history = on_ledger(ledger, lambda opened: opened.history("unknown-intent"))
    assert history[-1].event == "settled_not_bought"
    assert history[-1].reason == "settled by hand"
    assert history[-1].actor


@pytest.mark.parametrize(("cost", "held"), [(("--cost", "$0.85"), "0.85"), ((), "3")])
def test_bought_owes_its_finish(
    command: Command, ledger: Path, cost: tuple[str, ...], held: str
) -> None:
    """One that was made is owed a finish, free for the next recovery, and counts its price."""
    args = ("ledger", "resolve", "unknown-intent", "--bought", "777", *cost)
    ended = command(*args, "--database", str(ledger))
    assert ended.code == 0
    assert "its finish is owed now; papsms recover" in ended.out
    settled = read(ledger, "unknown-intent")
    assert (settled.state, settled.activation_id) == (State.CANCELLING, "777")
    assert settled.committed == Decimal(held)
    assert settled.lease_until is None


@pytest.mark.parametrize("state", [state for state in State if state is not State.UNKNOWN])
@pytest.mark.parametrize("how", [("--bought", "777"), ("--not-bought",)])
def test_nothing_else_can_be_settled(
    command: Command, ledger: Path, state: State, how: tuple[str, ...]
) -> None:
    """A purchase in any other state is refused with one sentence, and stays as it was."""
    before = read(ledger, f"{state.value}-intent")
    args = ("ledger", "resolve", f"{state.value}-intent", *how, "--database", str(ledger))
    ended = command(*args)
    assert ended.code == 1
    assert ended.err == (
        f"papsms: the purchase is {state.value}: only an unknown one can be settled\n"
    )
    assert read(ledger, f"{state.value}-intent") == before


def test_number_of_another_purchase_is_not_given_back(command: Command, ledger: Path) -> None:
    """An activation id that the ledger has already is refused: it would be cancelled."""
    args = ("ledger", "resolve", "unknown-intent", "--bought", "a-waiting")
    ended = command(*args, "--database", str(ledger))
    assert ended.code == 1
    assert ended.err == (
        "papsms: activation a-waiting is in the ledger already: purchase waiting-intent is"
        " waiting\n"
    )
    assert read(ledger, "unknown-intent").state is State.UNKNOWN


@pytest.mark.parametrize(
    "args",
    [
        (),
        ("--bought", "1", "--not-bought"),
        ("--not-bought", "--cost", "1"),
        ("--bought", "1", "--cost", "much"),
        ("--bought", "1", "--cost", "-1"),
        ("--bought", "1", "--cost", "nan"),
    ],
)
def test_resolve_wants_one_answer(command: Command, ledger: Path, args: tuple[str, ...]) -> None:
    """Contradictions and amounts that are none are refused before anything is looked at."""
    ended = command("ledger", "resolve", "unknown-intent", *args, "--database", str(ledger))
    assert ended.code == 2
    assert read(ledger, "unknown-intent").state is State.UNKNOWN


def test_empty_activation_id_is_refused(command: Command, ledger: Path) -> None:
    """An id without characters names no activation."""
    args = ("ledger", "resolve", "unknown-intent", "--bought", " ", "--database", str(ledger))
    assert command(*args).err == "papsms: the activation id is empty\n"
