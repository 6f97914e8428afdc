"""Who wants verifications, and when."""

from __future__ import annotations

import random

import attrs

from .laws import Law
from .service import Job


@attrs.frozen(kw_only=True)
class Workload:
    """A number of verifications, asked for in one way: in bulk, one after another, or by chance.

    Attributes:
        name: What tables call it.
        jobs: How many verifications.
        bulk: All at once, so many allowed in flight.
        callers: So many callers, each asking for one after another.
        per_minute: Callers who come by chance, so many a minute. Beside a bulk they come in
            addition, as long as it runs.
        webhooks_lost: Share of the webhooks that are lost; ``None`` where there are no webhooks.
    """

    name: str
    jobs: int
    bulk: int | None = None
    callers: int | None = None
    per_minute: float | None = None
    webhooks_lost: float | None = None

    def draw_jobs(self, law: Law, seed: int) -> list[Job]:
        """Draw what happens to each verification: the same for every contender."""
        beside = self.jobs if self.bulk is not None and self.per_minute is not None else 0
        return [
            Job(number, law.draw(random.Random(f"job {seed} {number}")), number >= self.jobs)
            for number in range(self.jobs + beside)
        ]


WORKLOADS: dict[str, Workload] = {
    workload.name: workload
    for workload in (
        Workload(name="bulk 500, 60 in flight", jobs=500, bulk=60),
        Workload(name="bulk 500, 150 in flight", jobs=500, bulk=150),
        Workload(name="bulk 500, 1000 in flight", jobs=500, bulk=1000),
        Workload(name="5 at a time", jobs=200, callers=5),
        Workload(name="1 at a time", jobs=100, callers=1),
        Workload(name="Poisson 2/min", jobs=100, per_minute=2.0),
        Workload(name="Poisson 10/min", jobs=300, per_minute=10.0),
        Workload(name="Poisson 16/min", jobs=300, per_minute=16.0),
        Workload(name="2/min beside bulk 500", jobs=500, bulk=60, per_minute=2.0),
        Workload(name="bulk 500 by webhook, 5 % lost", jobs=500, bulk=60, webhooks_lost=0.05),
    )
}
"""The workloads by name."""
