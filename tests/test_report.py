"""The report's figures are the ledger's in every grouping, and the page holds them safely."""

from __future__ import annotations

import itertools
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event

from papsms_async.errors import ConfigurationError
from papsms_async.ledger import LedgerEntry, MemoryLedger, open_ledger
from papsms_async.lifecycle import State
from papsms_async.models import Sms
from papsms_async.report import (
    Dimension,
    Figures,
    money_report,
    purchase_instants,
    report_record,
)
from papsms_async.report_page import report_page
from papsms_async.report_plots import scale

START = datetime(2026, 4, 1, 12, tzinfo=UTC)
NUMBERS = itertools.count()


def entry(state: State = State.COMPLETED, **fields: object) -> LedgerEntry:
    """Return a purchase of $0.80, with an SMS after 10 s where it was completed."""
    at = fields.pop("created_at", START)
    assert isinstance(at, datetime)
    sms = Sms(code="1", full_text="t", received_at=at + timedelta(seconds=10))
    values: dict[str, object] = {
        "intent_id": f"i{next(NUMBERS)}",
        "state": state,
        "service": "whatsapp",
        "country": "us",
        "cost": None if state in (State.SENDING, State.UNKNOWN, State.REFUSED) else Decimal("0.80"),
        "sms": sms if state is State.COMPLETED else None,
        "created_at": at,
        "updated_at": at,
        **fields,
    }
    return LedgerEntry(**values)  # type: ignore[arg-type]


prices = st.decimals(min_value=0, max_value=3, places=2)
words = st.sampled_from(["a", "b", "c"])
entries = st.lists(
    st.builds(
        lambda state, service, country, tenant, cost, worst, hours, delay: entry(
            state,
            service=service,
            country=country,
            tenant=tenant,
            cost=cost,
            worst_price=worst,
            created_at=START + timedelta(hours=hours),
            sms=None
            if delay is None
            else Sms(
                code=None,
                full_text="",
                received_at=START + timedelta(hours=hours, seconds=delay),
            ),
        ),
        st.sampled_from(list(State)),
        words,
        words,
        st.none() | words,
        st.none() | prices,
        prices,
        st.integers(0, 80),
        st.none() | st.integers(-3, 200),
    ),
    max_size=25,
)
ADDITIVE = [
    "purchases",
    "bought",
    "completed",
    "cancelled",
    "expired",
    "open",
    "refused",
    "unknown",
    "sending",
    "spend",
    "refunds_expected",
    "refunded",
    "unknown_cost",
    "reserved",
    "delivered",
    "ended",
]


@given(entries, st.permutations(list(Dimension)), st.integers(0, 4))
def test_sums_hold_in_every_grouping(
    given_entries: list[LedgerEntry], order: list[Dimension], count: int
) -> None:
    """Groups add up to the total, and the total to what a budget counts, digit for digit."""
    report = money_report(given_entries, by=order[:count])
    total = report.total
    for name in ADDITIVE:
        assert sum(getattr(group.figures, name) for group in report.groups) == getattr(total, name)
    together = sorted(delay for group in report.groups for delay in group.figures.delays)
    assert together == list(total.delays)
    held = total.spend + total.refunds_expected + total.unknown_cost + total.reserved
    assert held == sum((one.committed for one in given_entries), Decimal(0))
    assert total.purchases == len(given_entries)
    assert total.purchases == total.bought + total.refused + total.unknown + total.sending
    assert total.bought == total.ended + total.open
    assert total.ended == total.completed + total.cancelled + total.expired
    assert 0 <= total.delivered <= total.ended
    assert len({group.key for group in report.groups}) == len(report.groups)
    assert all(len(group.key) == count for group in report.groups)
    assert all(group.figures.purchases for group in report.groups)


@given(entries)
async def test_total_is_the_ledgers(given_entries: list[LedgerEntry]) -> None:
    """What the report sums up is what the ledger itself counts against budgets."""
    ledger = MemoryLedger()
    for one in given_entries:
        await ledger.add(one)
    total = money_report(await ledger.entries()).total
    assert await ledger.committed() == (
        total.spend + total.refunds_expected + total.unknown_cost + total.reserved
    )


@pytest.mark.parametrize(
    ("state", "field", "amount"),
    [
        (State.SENDING, "reserved", "3"),
        (State.UNKNOWN, "unknown_cost", "3"),
        (State.WAITING, "spend", "0.80"),
        (State.RECEIVED, "spend", "0.80"),
        (State.COMPLETING, "spend", "0.80"),
        (State.COMPLETED, "spend", "0.80"),
        (State.CANCELLING, "refunds_expected", "0.80"),
        (State.CANCELLED, "refunded", "0.80"),
        (State.EXPIRED, "refunded", "0.80"),
        (State.REFUSED, None, "0"),
    ],
)
def test_money_of_each_state_has_one_place(state: State, field: str | None, amount: str) -> None:
    """The money of a purchase is in the one sum that its state belongs to."""
    total = money_report([entry(state)]).total
    sums = {
        name: getattr(total, name)
        for name in ("spend", "refunds_expected", "refunded", "unknown_cost", "reserved")
    }
    assert {name: value for name, value in sums.items() if value} == (
        {} if field is None else {field: Decimal(amount)}
    )


def test_number_of_unknown_price_counts_at_the_worst() -> None:
    """A number that was bought at a price nobody knows counts at the worst price."""
    assert money_report([entry(State.WAITING, cost=None)]).total.spend == 3
    assert money_report([entry(State.CANCELLED, cost=None)]).total.refunded == 0


def test_rates_and_times() -> None:
    """Cost per completed, delivery rate, median and p90 follow their definitions."""
    kept = [
        entry(sms=Sms(code="1", full_text="", received_at=START + timedelta(seconds=n)))
        for n in range(1, 11)
    ]
    back = [entry(State.CANCELLED) for _ in range(5)]
    total = money_report([*kept, *back, entry(State.WAITING), entry(State.UNKNOWN)]).total
    assert total.cost_per_completed == Decimal("8.80") / 10
    assert total.delivery_rate == 10 / 15
    assert total.median_delay == 5.5
    assert total.p90_delay == 9


def test_nothing_has_no_rates() -> None:
    """No purchases give zero counts, and no rate where there is nothing to divide by."""
    report = money_report([])
    assert report.groups == ()
    assert report.total == Figures()
    total = report.total
    assert (total.cost_per_completed, total.delivery_rate) == (None, None)
    assert (total.median_delay, total.p90_delay) == (None, None)


def test_time_to_code_begins_with_the_answer_and_is_never_negative() -> None:
    """The purchase's own instant is taken where it is known; clocks that disagree give 0."""
    one = entry()
    known = {one.intent_id: START + timedelta(seconds=4)}
    assert money_report([one], bought_at=known).total.delays == (6.0,)
    late = {one.intent_id: START + timedelta(seconds=40)}
    assert money_report([one], bought_at=late).total.delays == (0.0,)
    without = entry(sms=Sms(code="1", full_text="", received_at=None))
    assert money_report([without]).total.delays == ()
    assert money_report([without]).total.delivered == 1


async def test_instants_come_from_the_history(tmp_path: object) -> None:
    """The instant of a purchase's answer is the one that the ledger's history has."""
    ledger = open_ledger(f"{tmp_path}/ledger.db")
    await ledger.open()
    try:
        one = entry(State.SENDING)
        await ledger.add(one)
        await ledger.add(entry(State.WAITING))
        bought = START + timedelta(seconds=7)
        await ledger.move(
            one.intent_id, State.SENDING, State.WAITING, event="bought", at=bought, cost=Decimal(1)
        )
        await ledger.move(
            one.intent_id,
            State.WAITING,
            State.RECEIVED,
            event="sms",
            at=START + timedelta(seconds=30),
            sms=Sms(code="1", full_text="", received_at=START + timedelta(seconds=20)),
        )
        found = await ledger.entries()
        instants = await purchase_instants(ledger, found)
    finally:
        await ledger.aclose()
    assert instants == {one.intent_id: bought}
    assert money_report(found, bought_at=instants).total.delays == (13.0,)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_a_report_asks_as_often_for_many_purchases_as_for_few(
    kind: str, tmp_path: object, request: pytest.FixtureRequest
) -> None:
    """However many SMS there are, they are read in one go."""
    address = f"{tmp_path}/ledger.db"
    if kind == "postgresql":
        address = request.getfixturevalue("postgres_url")
    ledger = open_ledger(address)
    await ledger.open()
    statements: list[str] = []
    event.listen(
        ledger._database._engine.sync_engine,  # type: ignore[attr-defined]
        "before_cursor_execute",
        lambda *args: statements.append(args[2]),
    )
    counts = []
    for _ in range(2):
        for _ in range(30):
            one = entry(State.SENDING)
            await ledger.add(one)
            moved = await ledger.move(
                one.intent_id,
                State.SENDING,
                State.WAITING,
                event="bought",
                at=START,
                cost=Decimal(1),
            )
            sms = Sms(code="1", full_text="", received_at=START + timedelta(seconds=20))
            await ledger.move(
                moved.intent_id, State.WAITING, State.RECEIVED, event="sms", at=START, sms=sms
            )
        statements.clear()
        found = await ledger.entries()
        instants = await purchase_instants(ledger, found)
        counts.append(len(statements))
        assert len(instants) == len(found)
        assert set(money_report(found, bought_at=instants).total.delays) == {20.0}
    await ledger.aclose()
    assert counts[0] == counts[1]


def test_days_are_utc_and_bounds_are_half_open() -> None:
    """A purchase belongs to its day in UTC; since is included, until is not."""
    early = datetime(2026, 4, 2, 1, tzinfo=UTC).astimezone(
        datetime.fromisoformat("2026-01-01T00:00:00-05:00").tzinfo
    )
    report = money_report([entry(created_at=early)])
    assert [group.key for group in report.groups] == [("2026-04-02",)]
    assert money_report([entry()], since=START, until=START).total.purchases == 0
    assert money_report([entry()], since=START).total.purchases == 1
    assert money_report([entry()], until=START).total.purchases == 0


def test_groups_are_in_order_and_nobody_comes_last() -> None:
    """Groups come in the order of their keys; those without a tenant come last."""
    every = [entry(tenant=tenant) for tenant in (None, "b", "a", "b")]
    report = money_report(every, by=(Dimension.TENANT,))
    assert [group.key for group in report.groups] == [("a",), ("b",), (None,)]


def test_wrong_arguments_are_refused() -> None:
    """A dimension named twice and a bound without a time zone are refused."""
    with pytest.raises(ConfigurationError):
        money_report([], by=(Dimension.DAY, Dimension.DAY))
    with pytest.raises(ConfigurationError):
        money_report([], since=datetime(2026, 1, 1))  # noqa: DTZ001 - that is the point


def test_record_keeps_every_digit() -> None:
    """As JSON money is text with all its digits, and rates are there."""
    record = report_record(
        money_report([entry(cost=Decimal("0.123456789"))], by=(Dimension.SERVICE,))
    )
    assert record["total"]["spend"] == "0.123456789"
    [group] = record["groups"]
    assert group["service"] == "whatsapp"
    assert group["delivery_rate"] == 1.0
    assert group["time_to_code"] == {"count": 1, "median": 10.0, "p90": 10.0}


# The page ----------------------------------------------------------------------------------------

EVIL = "<script>alert(1)</script>\"'&\x1b[31m"


class Page(HTMLParser):
    """Notes which elements a page has, with their attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.stack: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take note of an element."""
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "br"):
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take note of an empty element."""
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        """See that elements are closed in order."""
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        """Collect text."""
        self.text += data


def test_page_asks_for_nothing_and_escapes_everything() -> None:
    """No script, link, image or address is in the page, whatever words the ledger holds."""
    every = [
        entry(service=EVIL, country=EVIL, tenant=EVIL),
        entry(State.UNKNOWN, service=EVIL),
        entry(State.CANCELLED, created_at=START + timedelta(days=3)),
    ]
    html = report_page(every, by=tuple(Dimension), now=START)
    page = Page(html)
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "link", "img", "iframe", "object", "a", "form", "base"}
    for _, attributes in page.tags:
        assert not set(attributes) & {"src", "href", "xlink:href", "style", "onload"}
    assert not re.search(r"https?:|url\(|@import", html)
    assert "\x1b" not in html
    assert "<script>alert(1)</script>" in page.text


def test_every_plot_is_told_in_words_and_as_a_table() -> None:
    """Each plot has a title and a description that it names, and a table in its section."""
    html = report_page(
        [entry(), entry(State.EXPIRED), entry(tenant="t")], now=START, purged=Decimal("1.25")
    )
    page = Page(html)
    plots = [attributes for tag, attributes in page.tags if attributes.get("role") == "img"]
    assert len(plots) == 5
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    for plot in plots:
        assert set((plot["aria-labelledby"] or "").split()) <= ids
    for section in re.findall(r"<section>.*?</section>", html, re.DOTALL):
        assert ('role="img"' in section) <= ("<table>" in section)
    for svg in re.findall(r"<svg.*?</svg>", html, re.DOTALL):
        assert ElementTree.fromstring(svg).tag == "svg"  # noqa: S314 - our own
    assert "$1.25 more was spent" in page.text


def test_empty_page_says_so() -> None:
    """An empty ledger gives a page that says that there is nothing."""
    assert "The ledger has no purchases." in Page(report_page([], now=START)).text
    page = Page(report_page([], since=START, until=START + timedelta(days=1), now=START))
    assert "no purchases in this time" in page.text


@given(entries)
def test_page_can_be_made_of_any_ledger(given_entries: list[LedgerEntry]) -> None:
    """Any mixture of states gives a well-formed page whose bars stay within their plot."""
    html = report_page(given_entries, by=(Dimension.SERVICE, Dimension.DAY), now=START)
    Page(html)
    for svg in re.findall(r"<svg class=\"plot\".*?</svg>", html, re.DOTALL):
        for rect in ElementTree.fromstring(svg).iter("rect"):  # noqa: S314 - our own
            if rect.get("class") == "track":
                continue
            right = float(rect.get("x", "0").rstrip("%")) + float(
                rect.get("width", "0").rstrip("%")
            )
            assert right <= 100.01
            assert float(rect.get("y", "0")) >= 0


@given(st.just(0.0) | st.floats(1e-6, 1e9))
def test_scale_covers_its_values(top: float) -> None:
    """A scale begins at 0, reaches the top, and has few round steps."""
    ticks = scale(top)
    assert ticks[0] == 0
    assert ticks[-1] >= top * (1 - 1e-9)
    assert 2 <= len(ticks) <= 6
