"""How long an SMS takes to arrive after the purchase: laws to draw from, and their notation.

Notation, as in ``SandboxConfig.parse_delay("lognormal:12/0.8,never:0.08")``::

    fixed:SECONDS              always the same
    uniform:LOW-HIGH           anything between, evenly
    lognormal:MEDIAN/SIGMA     most soon, some much later
    never                      no SMS at all
    LAW,never:SHARE            LAW, but for that share (0 to 1) none at all
"""

from __future__ import annotations

import math
from random import Random
from typing import Protocol

import attrs


class SmsDelay(Protocol):
    """A law of the time from purchase to SMS."""

    def sample(self, rng: Random) -> float | None:
        """Draw a delay in seconds, or ``None`` for an SMS that never arrives."""
        ...


def _not_negative(_: object, attribute: attrs.Attribute[float], value: float) -> None:
    if not 0.0 <= value < math.inf:
        raise ValueError(f"{attribute.name} of an SMS delay is a number of seconds, 0 or more")


def _above_zero(_: object, attribute: attrs.Attribute[float], value: float) -> None:
    if not 0.0 < value < math.inf:
        raise ValueError(f"{attribute.name} of an SMS delay is a number above 0")


def _share(_: object, attribute: attrs.Attribute[float], value: float) -> None:
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"{attribute.name} is a share, 0 to 1")


def _not_below_low(law: Uniform, _: attrs.Attribute[float], value: float) -> None:
    if value < law.low:
        raise ValueError("a uniform SMS delay needs LOW <= HIGH")


@attrs.frozen
class Fixed:
    """Always ``seconds``."""

    seconds: float = attrs.field(validator=_not_negative)

    def sample(self, rng: Random) -> float | None:
        """Return the delay; see `SmsDelay`."""
        return self.seconds


@attrs.frozen
class Uniform:
    """Evenly between ``low`` and ``high`` seconds."""

    low: float = attrs.field(validator=_not_negative)
    high: float = attrs.field(validator=[_not_negative, _not_below_low])

    def sample(self, rng: Random) -> float | None:
        """Draw a delay; see `SmsDelay`."""
        return rng.uniform(self.low, self.high)


@attrs.frozen
class Lognormal:
    """Lognormal with ``median`` seconds and ``sigma``, the standard deviation of its logarithm."""

    median: float = attrs.field(default=12.0, validator=_above_zero)
    sigma: float = attrs.field(default=0.8, validator=_not_negative)

    def sample(self, rng: Random) -> float | None:
        """Draw a delay; see `SmsDelay`."""
        try:
            return rng.lognormvariate(math.log(self.median), self.sigma)
        except OverflowError:  # an extreme sigma: later than anybody waits
            return None


@attrs.frozen
class Never:
    """No SMS at all."""

    def sample(self, rng: Random) -> float | None:
        """Return ``None``; see `SmsDelay`."""
        return None


@attrs.frozen
class Mixture:
    """``law``, but for a share ``never`` (0 to 1) of the numbers no SMS at all."""

    law: SmsDelay
    never: float = attrs.field(validator=_share)

    def sample(self, rng: Random) -> float | None:
        """Draw a delay; see `SmsDelay`."""
        # Both draws are made each time, so a change of `never` leaves the other numbers alone.
        lost = rng.random() < self.never
        seconds = self.law.sample(rng)
        return None if lost else seconds


DEFAULT_DELAY: SmsDelay = Mixture(Lognormal(12.0, 0.8), never=0.08)
"""Half of the SMS within 12 s, one number in twelve without any."""


def parse_delay(text: str) -> SmsDelay:
    """Read an SMS delay law in the module's notation.

    Raises:
        ValueError: It is not of that form; the message says what is.
    """
    law_text, _, never_text = text.strip().lower().partition(",")
    try:
        law = _parse_law(law_text.strip())
        if not never_text:
            return law
        name, _, share = never_text.strip().partition(":")
        if name != "never":
            raise ValueError("after the comma stands never:SHARE")
        return Mixture(law, never=float(share))
    except ValueError as exc:
        raise ValueError(
            f"not an SMS delay: {text!r} ({exc}); write it like 'fixed:5', 'uniform:2-10',"
            " 'lognormal:12/0.8,never:0.08' or 'never'"
        ) from exc


def _parse_law(text: str) -> SmsDelay:
    name, _, numbers = text.partition(":")
    match name:
        case "never" if not numbers:
            return Never()
        case "fixed":
            return Fixed(float(numbers.removesuffix("s")))
        case "uniform":
            low, _, high = numbers.partition("-")
            return Uniform(float(low), float(high))
        case "lognormal":
            median, _, sigma = numbers.partition("/")
            return Lognormal(float(median), float(sigma))
        case _:
            raise ValueError(f"unknown law {name!r}")
