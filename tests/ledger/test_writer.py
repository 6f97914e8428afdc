"""Group commit: how many writes share a transaction, and which go first."""

from __future__ import annotations

import asyncio

from papsms_async.ledger.writer import Writer


async def written(count: int, *, first_at: int | None = None) -> list[list[int]]:
    """Return the transactions in which ``count`` writes went, all submitted in one moment."""
    batches: list[list[int]] = []

    async def commit(writes):
        batches.append(list(writes))
        await asyncio.sleep(0)
        return [None] * len(writes)

    writer: Writer[int] = Writer(commit, most=50, few=5)
    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(writer.submit(number, first=number == first_at))
    await writer.idle()
    return batches


async def test_writes_of_one_moment_share_transactions():
    """Each is written once, in its order, as many together as may be."""
    batches = await written(120)
    assert [number for batch in batches for number in batch] == list(range(120))
    assert max(map(len, batches)) == 50
    assert len(batches) <= 4


async def test_who_waits_outside_waits_for_a_short_transaction():
    """It goes before all that wait, and transactions are short from then on."""
    batches = await written(120, first_at=60)
    assert sorted(number for batch in batches for number in batch) == list(range(120))
    at = next(place for place, batch in enumerate(batches) if 60 in batch)
    assert batches[at][0] == 60
    assert all(len(batch) <= 5 for batch in batches[at:])
