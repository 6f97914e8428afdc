"""The judge: what a run came to, from the service's records and the callers' clocks."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import attrs

from .service import Job, Service


@attrs.frozen(kw_only=True)
class Score:
    """Figures of one run. Delays are seconds from an SMS's arrival to its caller's having it.

    Attributes:
        jobs: Verifications that were wanted.
        completed: Verifications whose caller had the SMS and whose number was completed.
        per_minute: Completions a minute, from the start to the last of them; in a run that was
            broken off, to its end.
        seconds: From the start until nothing was owed any more.
        requests: Requests that reached the service.
        per_completion: Those for each completion.
        refused: 429s.
        busiest: Most requests in any window of the limit.
        mean_delay: Mean delay.
        p95_delay: 95th percentile.
        lost: SMS that came within the timeout and whose caller never had them.
        open: Numbers that were never finished.
        interactive: Mean delay of those who came beside a bulk.
        wait: Mean seconds from asking to the trigger of the SMS, of callers who come one by one.
        processor: Seconds of processor time.
    """

    jobs: int
    completed: int
    per_minute: float
    seconds: float
    requests: int
    per_completion: float
    refused: int
    busiest: int
    mean_delay: float
    p95_delay: float
    lost: int
    open: int
    interactive: float = math.nan
    wait: float = math.nan
    processor: float = 0.0


def judge(
    service: Service, jobs: Sequence[Job], *, timeout: float, seconds: float, processor: float
) -> Score:
    """Return the figures of a run that is over; of jobs that were never begun nothing is said."""
    jobs = [job for job in jobs if not job.interactive or job.asked_at == job.asked_at]
    finished = [service.numbers[job.numbers[-1]] for job in jobs if job.had_at is not None]
    completed = [number for number in finished if number.finished == "completed"]
    ended = max((number.finished_at for number in completed), default=0.0)
    if any(job.had_at is None and not job.numbers for job in jobs):
        ended = seconds
    delays = sorted(job.had_at - job.sms_at for job in jobs if job.had_at is not None)
    beside = [job for job in jobs if job.interactive]
    begun = [job for job in jobs if not math.isnan(job.triggered_at - job.asked_at)]
    return Score(
        jobs=len(jobs),
        completed=len(completed),
        per_minute=60 * len(completed) / ended if ended else 0.0,
        seconds=seconds,
        requests=len(service.arrivals),
        per_completion=len(service.arrivals) / len(completed) if completed else math.inf,
        refused=service.refused,
        busiest=service.busiest(),
        mean_delay=mean(delays),
        p95_delay=percentile(delays, 0.95),
        lost=sum(job.had_at is None and job.sms_at <= job.triggered_at + timeout for job in jobs),
        open=sum(number.finished is None for number in service.numbers.values()),
        interactive=mean([j.had_at - j.sms_at for j in beside if j.had_at is not None]),
        wait=mean([job.triggered_at - job.asked_at for job in begun]),
        processor=processor,
    )


def mean(values: Sequence[float]) -> float:
    """Return the mean, not a number for none."""
    return statistics.fmean(values) if values else math.nan


def percentile(values: Sequence[float], share: float) -> float:
    """Return a percentile of sorted values, by linear interpolation; not a number for none."""
    if not values:
        return math.nan
    place = share * (len(values) - 1)
    low = math.floor(place)
    high = min(low + 1, len(values) - 1)
    return values[low] + (place - low) * (values[high] - values[low])
