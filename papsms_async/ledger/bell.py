"""PostgreSQL's LISTEN and NOTIFY: processes on one ledger tell each other of new webhooks.

NOTIFY is part of the statement that writes the rows (`papsms_async.ledger.webhook_rows`), so who
hears it can read them. LISTEN has a
connection of its own, which is made anew when it breaks; what was told meanwhile has to be looked
for, so each new connection, and each quiet while, yields a call to look.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import asyncpg  # type: ignore[import-untyped,unused-ignore]

from papsms_async.ledger.webhook_rows import CHANNEL

_log = logging.getLogger("papsms_async.ledger")

QUIET = 20.0
"""Seconds without a word after which the connection is tried, and rows are looked for."""
PATIENCE = 10.0
"""Seconds in which a connection that lives answers."""
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 15.0
"""Seconds between two tries to connect, which double from the first to the longest."""

_WHICH = f"SELECT {CHANNEL}"


async def listen(
    connect: Callable[[], Awaitable[Any]],
) -> AsyncGenerator[tuple[str, tuple[int, ...]], None]:
    """Give what is told, for ever; see `Store.news`.

    Args:
        connect: Makes a connection of asyncpg's.
    """
    pause = FIRST_PAUSE
    while True:
        told: asyncio.Queue[str | None] = asyncio.Queue()
        connection = None
        try:
            connection = await connect()
            connection.add_termination_listener(lambda *_, told=told: told.put_nowait(None))
            channel = await connection.fetchval(_WHICH)
            await connection.add_listener(
                channel, lambda *args, told=told: told.put_nowait(str(args[-1]))
            )
            pause = FIRST_PAUSE
            yield "", ()
            while True:
                try:
                    async with asyncio.timeout(QUIET):
                        word = await told.get()
                except TimeoutError:
                    async with asyncio.timeout(PATIENCE):
                        await connection.fetchval("SELECT 1")
                    yield "", ()
                    continue
                if word is None:
                    break
                yield _read(word)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            # Its text may name the server and the user.
            _log.info("the connection that hears of webhooks broke (%s)", type(error).__name__)
        finally:
            if connection is not None:
                with suppress(Exception):
                    connection.terminate()
        await asyncio.sleep(pause)
        pause = min(LONGEST_PAUSE, 2 * pause)


def _read(word: str) -> tuple[str, tuple[int, ...]]:
    author, _, numbers = word.partition(" ")
    parts = numbers.split(",")
    # Anybody who may connect can send what they like.
    if not all(part.isascii() and part.isdecimal() and len(part) < 19 for part in parts):
        return "", ()
    return author, tuple(map(int, parts))
