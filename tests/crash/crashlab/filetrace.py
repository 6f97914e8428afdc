"""Reads what strace saw a process do to the files of one directory."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import attrs

CALLS = "openat,write,pwrite64,pwritev,fsync,fdatasync,ftruncate,unlink,unlinkat,rename,renameat2"
"""What has to be traced; memory mappings can't be, and the ledger uses none for its data."""


@attrs.frozen
class Create:
    """A file was opened that may not have been there before."""

    name: str


@attrs.frozen
class Write:
    """Bytes were written."""

    name: str
    offset: int
    data: bytes = attrs.field(repr=len)


@attrs.frozen
class Truncate:
    """A file was cut off, or made longer."""

    name: str
    size: int


@attrs.frozen
class Unlink:
    """A file was deleted."""

    name: str


@attrs.frozen
class Sync:
    """A file, or the directory (an empty name), was synced, and the call has returned."""

    name: str


@attrs.frozen
class Ack:
    """The process said that these writes had returned: (intent, event)."""

    lines: tuple[tuple[str, str], ...]


Step = Create | Write | Truncate | Unlink | Sync | Ack

_LINE = re.compile(r"(?P<pid>[0-9]+) +(?P<rest>.*)")
_CALL = re.compile(r"(?P<name>[a-z0-9]+)\((?P<arguments>.*?)(?P<end>\) += .*| <unfinished \.\.\.>)")
_RESUMED = re.compile(r"<\.\.\. (?P<name>[a-z0-9]+) resumed>(?P<rest>.*)")
_FD = re.compile(r"[0-9]+<(?P<path>[^>]*)>")
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


class TraceError(Exception):
    """The trace holds what the model does not know."""


def command(output: Path) -> list[str]:
    """Return the beginning of a command line that traces what follows it."""
    # Only the traced calls stop the process, where the kernel filters them.
    options = f"-f --seccomp-bpf -y -xx -s 8388608 -e trace={CALLS}"
    return ["strace", *options.split(), "-o", f"{output}"]


def read_trace(lines: Iterable[str], directory: Path, acks: Path) -> Iterator[Step]:
    """Read the lines of a trace.

    What changes a file counts from the beginning of its call, a sync from its return: so nothing
    counts as durable before it was, nor as acknowledged after it was.

    Args:
        lines: As strace wrote them.
        directory: Whose files matter.
        acks: The file of acknowledgements.

    Raises:
        TraceError: There is a call that the model does not know.
    """
    begun: dict[str, tuple[str, str]] = {}
    for line in lines:
        found = _LINE.match(line)
        if found is None:
            continue
        pid, rest = found["pid"], found["rest"]
        if resumed := _RESUMED.match(rest):
            name, arguments = begun.pop(pid)
            if not resumed["rest"].split("=")[-1].strip().startswith("-1"):
                yield from _ended(name, arguments, directory)
        elif call := _CALL.match(rest):
            name, arguments = call["name"], call["arguments"]
            failed = call["end"].startswith(")") and "= -1" in call["end"]
            if failed:
                continue
            yield from _begun(name, arguments, directory, acks)
            if call["end"].startswith(")"):
                yield from _ended(name, arguments, directory)
            else:
                begun[pid] = name, arguments


def _begun(name: str, arguments: str, directory: Path, acks: Path) -> Iterator[Step]:
    if name in ("write", "pwrite64", "pwritev", "ftruncate"):
        path = _path(arguments)
        if path == acks and name == "write":
            text = _strings(arguments)[0].decode()
            yield Ack(tuple((line.split()[0], line.split()[1]) for line in text.splitlines()))
        elif path is None or path.parent != directory:
            return
        elif name == "pwrite64":
            yield Write(path.name, int(arguments.rpartition(",")[2]), _strings(arguments)[0])
        elif name == "ftruncate":
            yield Truncate(path.name, int(arguments.rpartition(",")[2]))
        else:
            raise TraceError(f"{name} to {path.name}")
    elif name in ("unlink", "unlinkat"):
        path = Path(_strings(arguments)[0].decode())
        if path.parent == directory:
            yield Unlink(path.name)
    elif name.startswith("rename") and any(
        Path(text.decode()).parent == directory for text in _strings(arguments)
    ):
        raise TraceError("a file was renamed")


def _ended(name: str, arguments: str, directory: Path) -> Iterator[Step]:
    if name in ("fsync", "fdatasync"):
        path = _path(arguments)
        if path == directory:
            yield Sync("")
        elif path is not None and path.parent == directory:
            yield Sync(path.name)
    elif name == "openat" and "O_CREAT" in arguments:
        path = Path(_strings(arguments)[0].decode())
        if path.parent == directory:
            yield Create(path.name)
            if "O_TRUNC" in arguments:
                yield Truncate(path.name, 0)


def _path(arguments: str) -> Path | None:
    found = _FD.match(arguments)
    return None if found is None else Path(_unescape(found["path"]).decode())


def _strings(arguments: str) -> list[bytes]:
    return [_unescape(text) for text in _STRING.findall(arguments)]


def _unescape(text: str) -> bytes:
    if "\\x" not in text:
        return text.encode()
    return bytes.fromhex(text.replace("\\x", ""))
