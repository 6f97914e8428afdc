"""Control of single numbers; the calls are listed in `papsms_async.sandbox.control`."""

from __future__ import annotations

from collections.abc import Mapping

from .activations import ActivationState, SandboxActivation
from .engine import SandboxEngine
from .fields import ControlCalls, ControlError, number_of, text_of
from .views import activation_row

_LONGEST_DELAY = 86_400.0


class NumberControl:
    """The calls about single numbers.

    Args:
        engine: The engine that is controlled.
    """

    def __init__(self, engine: SandboxEngine) -> None:
        self._engine = engine
        self.endpoints: ControlCalls = {
            ("POST", "deliver"): self._deliver,
            ("POST", "drop"): self._drop,
            ("POST", "end"): self._end,
        }

    def _deliver(self, body: Mapping[str, object], query: Mapping[str, str]) -> object:
        delay = number_of(body, "delay") or 0.0
        if not 0.0 <= delay <= _LONGEST_DELAY:
            raise ValueError(f"delay is a number of seconds, 0 to {_LONGEST_DELAY:.0f}")
        activation_id, phone_number = _receiver(body)
        found = self._engine.deliver(
            self._engine.now,
            activation_id=activation_id,
            phone_number=phone_number,
            code=text_of(body, "code"),
            text=text_of(body, "text"),
            delay=delay,
        )
        if found is None:
            raise ControlError(404, "no open activation can receive that SMS")
        return activation_row(found, self._engine.now)

    def _drop(self, body: Mapping[str, object], query: Mapping[str, str]) -> object:
        activation = self._find(body)
        if not self._engine.drop(self._engine.now, activation):
            raise ControlError(409, "no SMS is on its way to that number")
        return activation_row(activation, self._engine.now)

    def _end(self, body: Mapping[str, object], query: Mapping[str, str]) -> object:
        wanted = text_of(body, "state")
        if wanted not in {ActivationState.CANCELLED, ActivationState.EXPIRED}:
            raise ValueError("state is 'cancelled' or 'expired'")
        activation = self._find(body)
        if not self._engine.end(self._engine.now, activation, ActivationState(wanted)):
            state = activation.state(self._engine.now)
            raise ControlError(409, f"that number is not waiting but {state}")
        return activation_row(activation, self._engine.now)

    def _find(self, body: Mapping[str, object]) -> SandboxActivation:
        activation_id, phone_number = _receiver(body)
        found = self._engine.find(activation_id=activation_id, phone_number=phone_number)
        if found is None:
            raise ControlError(404, "there is no such activation")
        return found


def _receiver(body: Mapping[str, object]) -> tuple[str | None, str | None]:
    activation_id, phone_number = text_of(body, "activation_id"), text_of(body, "phone_number")
    if (activation_id is None) == (phone_number is None):
        raise ValueError("give activation_id or phone_number, one of them")
    return activation_id, phone_number
