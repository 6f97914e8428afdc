"""Whether webhooks still come: noticed soon, not for every loss, and taken back."""

from __future__ import annotations

from math import exp
from random import Random

import pytest

from papsms_async.silence import Change, SilenceTest, Suspicion


def hear(silence: SilenceTest, count: int = 1) -> list[Change]:
    """Let so many webhooks come; return what changed."""
    return [change for _ in range(count) if (change := silence.note_announced(at=0.0))]


def miss(silence: SilenceTest, count: int = 1, *, silent: bool = True) -> list[Change]:
    """Let so many be missed; return what changed."""
    return [
        change for _ in range(count) if (change := silence.note_missed(at=0.0, silent_since=silent))
    ]


def test_one_miss_suffices_where_none_ever_came() -> None:
    """Perhaps the URL was never set in the account."""
    silence = SilenceTest()
    assert silence.coming
    assert not silence.proven
    assert miss(silence) == [Change.SILENT]
    assert not silence.coming


def test_three_in_a_row_suffice_where_some_came() -> None:
    """Two are what a service that loses some does."""
    silence = SilenceTest()
    hear(silence, 10)
    assert silence.proven
    assert miss(silence, 2) == []
    assert miss(silence) == [Change.SILENT]
    assert miss(silence, 50) == []


def test_some_webhooks_take_the_alarm_back() -> None:
    """Not the first one: the service may lose every second."""
    silence = SilenceTest()
    miss(silence, 100)
    assert hear(silence, 3) == []
    assert hear(silence, 2) == [Change.BACK]
    assert silence.coming


def test_losses_among_others_that_came_are_no_silence() -> None:
    """Lost ones are found by the last polls, one after another."""
    silence = SilenceTest()
    hear(silence, 900)
    assert miss(silence, 50, silent=False) == []
    assert silence.coming
    assert (silence.announced, silence.missed) == (900, 50)


@pytest.mark.parametrize(("loss", "most"), [(0.0, 0), (0.05, 2), (0.2, 20)])
def test_false_alarms_are_rare(loss: float, most: int) -> None:
    """In a thousand SMS with losses by chance."""
    silence, rng = SilenceTest(), Random(1)
    hear(silence)
    alarms: list[Change] = []
    for _ in range(1000):
        alarms += miss(silence) if rng.random() < loss else hear(silence)
    assert alarms.count(Change.SILENT) <= most


def test_loss_is_estimated() -> None:
    """From a guess to what is seen; an outage does not count."""
    silence = SilenceTest()
    assert silence.loss == 0.05
    for number in range(1000):
        at = float(number)
        if number % 4 == 0:
            silence.note_missed(at=at, silent_since=False)
        else:
            silence.note_announced(at=at)
    assert silence.loss == pytest.approx(0.25, abs=0.02)
    before = silence.loss
    miss(silence, 3)
    assert not silence.coming
    known = silence.loss
    miss(silence, 1000)
    assert silence.loss == known
    assert known - before < 0.02


def test_loss_of_long_ago_is_forgotten() -> None:
    """With hours, and not with how many came."""
    silence = SilenceTest()
    for _ in range(100):
        silence.note_missed(at=0.0, silent_since=False)
    assert silence.loss > 0.8
    for _ in range(20):
        silence.note_announced(at=10 * 3600.0)
    assert silence.loss < 0.1


def test_suspicion_grows_with_the_number_and_with_looks_in_vain() -> None:
    """A thousand that wait need few looks, and a law that was wrong is not believed again."""
    suspicion = Suspicion()
    alone, many = suspicion.bound(1, proven=True), suspicion.bound(1000, proven=True)
    assert exp(-alone) == pytest.approx(0.37, abs=0.01)
    assert exp(-many) < 1e-3
    assert suspicion.bound(1, proven=False) < alone
    suspicion.vain = 5
    assert suspicion.bound(1, proven=True) > 3 * alone
    suspicion.vain = 10**6
    assert suspicion.bound(0, proven=True) < 1e6
