"""A disk that forgets: what is left of files after a power cut.

Only what was synced is certain. Of everything else any part may be there: each later write alone,
or only some of its 512-byte sectors; a file made longer or shorter, or not yet; and a name that was
made or deleted only once its directory was synced, whatever was synced inside the file. Source:
POSIX on fsync(); J. Pillai et al., "All File Systems Are Not Created Equal" (OSDI 2014).
"""

from __future__ import annotations

import random
from collections import defaultdict

import attrs

from crashlab.filetrace import Ack, Create, Step, Sync, Truncate, Unlink, Write

_SECTOR = 512
_Change = Write | Truncate


@attrs.define(eq=False)
class _File:
    durable: bytearray = attrs.field(factory=bytearray)
    pending: list[_Change] = attrs.field(factory=list)


class ForgetfulDisk:
    """The files of one directory, with what is durable of them."""

    def __init__(self) -> None:
        self._seen: dict[str, _File] = {}
        self._durable: dict[str, _File] = {}
        self._pending: list[tuple[str, _File | None]] = []

    def apply(self, step: Step) -> None:
        """Carry out one step of a trace."""
        match step:
            case Create(name):
                if name not in self._seen:
                    self._seen[name] = _File()
                    self._pending.append((name, self._seen[name]))
            case Write(name) | Truncate(name):
                self._seen[name].pending.append(step)
            case Unlink(name):
                if self._seen.pop(name, None) is not None:
                    self._pending.append((name, None))
            case Sync(""):
                for name, file in self._pending:
                    _rename(self._durable, name, file)
                self._pending.clear()
            case Sync(name):
                file = self._seen[name]
                for change in file.pending:
                    _carry_out(file.durable, change)
                file.pending.clear()
            case Ack():
                pass

    def cut(self, rng: random.Random, *, survival: float) -> dict[str, bytes]:
        """Return the files that are found after a power cut.

        Args:
            rng: Draws what survives.
            survival: The chance of each unsynced change; 0 drops them all.
        """
        names = dict(self._durable)
        changes: dict[str, list[_File | None]] = defaultdict(list)
        for name, file in self._pending:
            changes[name].append(file)
        for name, files in changes.items():
            # Changes of one name survive in their order.
            left = sum(rng.random() < survival for _ in files)
            if left:
                _rename(names, name, files[left - 1])
        return {name: _remains(file, rng, survival) for name, file in names.items()}


def _rename(names: dict[str, _File], name: str, file: _File | None) -> None:
    if file is None:
        names.pop(name, None)
    else:
        names[name] = file


def _remains(file: _File, rng: random.Random, survival: float) -> bytes:
    content = bytearray(file.durable)
    for change in file.pending:
        if rng.random() >= survival:
            continue
        if isinstance(change, Write) and rng.random() < 0.2:
            for start in range(0, len(change.data), _SECTOR):
                if rng.random() < 0.5:
                    piece = change.data[start : start + _SECTOR]
                    _carry_out(content, Write(change.name, change.offset + start, piece))
        else:
            _carry_out(content, change)
    return bytes(content)


def _carry_out(content: bytearray, change: _Change) -> None:
    if isinstance(change, Truncate):
        del content[change.size :]
        content.extend(bytes(change.size - len(content)))
        return
    end = change.offset + len(change.data)
    content.extend(bytes(max(0, end - len(content))))
    content[change.offset : end] = change.data
