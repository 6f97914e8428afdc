"""Those who use the manager: their flows, how they consume results, and how they are cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import aclosing
from typing import Any

import anyio
import attrs

from papsms_async import (
    ActivationError,
    ActivationManager,
    PapSMSError,
    Sms,
    SmsTimeoutError,
    VerificationRequest,
    VerificationResult,
)
from papsms_async.activation import LiveActivation

from .plan import Caller, Wanted
from .trace import Trace


class FlowError(Exception):
    """A flow's own failure."""


class InputError(Exception):
    """The source of requests failed."""


@attrs.define(kw_only=True)
class Wait:
    """One wait for an SMS, as its flow saw it."""

    intent_id: str
    activation_id: str
    begun: float
    ended: float | None = None
    sms: Sms | None = None
    error: str | None = None


@attrs.define(kw_only=True)
class Diary:
    """What the callers saw."""

    waits: list[Wait] = attrs.field(factory=list)
    results: list[VerificationResult] = attrs.field(factory=list)
    entered: dict[str, LiveActivation] = attrs.field(factory=dict)
    left: set[str] = attrs.field(factory=set)
    kept: set[str] = attrs.field(factory=set)
    """Intents whose flow ended well with an SMS and without giving the number back."""
    begun: list[str] = attrs.field(factory=list)
    """References of requests that were handed to the manager."""
    expected: list[str] = attrs.field(factory=list)
    """References whose result must have come."""
    failures: list[str] = attrs.field(factory=list)


class Crowd:
    """All callers of a world."""

    def __init__(
        self, manager: ActivationManager, wanted: dict[str, Wanted], diary: Diary, trace: Trace
    ) -> None:
        self._manager = manager
        self._wanted = wanted
        self._diary = diary
        self._trace = trace

    async def act(self, caller: Caller) -> None:
        """Be one caller, to its end or cancellation; only what should not be is raised."""
        await asyncio.sleep(caller.start)
        match caller.kind:
            case "bulk":
                work = self._bulk(caller)
            case "verify":
                work = self._verify(caller.wanted[0])
            case _:
                work = self._block(caller.wanted[0])
        try:
            await self._killed(work, caller)
        except (PapSMSError, FlowError, InputError, TimeoutError) as error:
            self._trace.note("caller", caller.wanted[0].reference, type(error).__name__)

    async def _killed(self, work: Coroutine[Any, Any, None], caller: Caller) -> None:
        killing = caller.killing
        if killing is None:
            await work
            return
        if killing.how == "timeout":
            async with asyncio.timeout(killing.at):
                await work
            return
        scope = anyio.CancelScope()

        async def scoped() -> None:
            with scope:
                await work

        task = asyncio.create_task(scoped())
        await asyncio.wait({task}, timeout=killing.at)
        self._trace.note("kill", caller.wanted[0].reference, killing.how)
        if killing.how == "scope":
            scope.cancel()
        else:
            task.cancel()
            if killing.how == "doubled":
                await asyncio.sleep(0)
                task.cancel()
                await asyncio.sleep(0)
                task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.result()

    # The three ways to use a manager -------------------------------------------------------------

    async def _bulk(self, caller: Caller) -> None:
        diary = self._diary
        taken = 0
        handed: list[str] = []
        results: list[str] = []
        source = self._source(caller, handed)
        run = self._manager.run(source, flow=self.flow)
        try:
            async with aclosing(run):
                async for result in run:
                    self._note_result(result)
                    results.append(str(result.request.reference))
                    taken += 1
                    if caller.stop_after is not None and taken >= caller.stop_after:
                        return
                    if caller.pace:
                        await asyncio.sleep(caller.pace)
        except InputError:
            if caller.source != "breaking":
                raise
        # All that was handed over, but for a request that came when nothing was bought any more.
        if self._manager.is_buying:
            diary.expected.extend(handed)
            if sorted(handed) != sorted(results):
                diary.failures.append(f"a run gave {results} for {handed}")
        elif not set(results) <= set(handed) or len(set(results)) != len(results):
            diary.failures.append(f"a run gave {results} for {handed}")

    def _source(self, caller: Caller, handed: list[str]) -> Any:
        requests = [self._request(one) for one in caller.wanted]

        def note(request: VerificationRequest) -> VerificationRequest:
            handed.append(str(request.reference))
            self._diary.begun.append(str(request.reference))
            return request

        def plain() -> Iterator[VerificationRequest]:
            for request in requests:
                yield note(request)

        async def slow() -> AsyncIterator[VerificationRequest]:
            for request in requests:
                await asyncio.sleep(caller.pace)
                yield note(request)

        async def breaking() -> AsyncIterator[VerificationRequest]:
            for number, request in enumerate(requests):
                if number == len(requests) // 2:
                    raise InputError
                yield note(request)

        match caller.source:
            case "slow":
                return slow()
            case "breaking":
                return breaking()
            case "generator":
                return plain()
            case _:
                return list(plain())

    async def _verify(self, one: Wanted) -> None:
        self._diary.begun.append(one.reference)
        result = await self._manager.verify(self._request(one), flow=self.flow)
        self._note_result(result)
        self._diary.expected.append(one.reference)

    async def _block(self, one: Wanted) -> None:
        self._diary.begun.append(one.reference)
        async with self._manager.activate(self._request(one)) as live:
            outcome = self.flow(live)
            if outcome is not None and not isinstance(outcome, str):
                await outcome

    def _note_result(self, result: VerificationResult) -> None:
        self._diary.results.append(result)
        self._trace.note(
            "result",
            result.request.reference,
            result.outcome.value,
            result.cost,
            result.cost_uncertain,
            type(result.error).__name__,
        )

    @staticmethod
    def _request(one: Wanted) -> VerificationRequest:
        return VerificationRequest(
            one.service,
            one.country,
            fallbacks=one.fallbacks,
            reference=one.reference,
            sms_timeout=one.sms_timeout,
            tenant=one.tenant,
            priority=one.priority,
        )

    # Flows ---------------------------------------------------------------------------------------

    def flow(self, live: LiveActivation) -> Awaitable[Any] | str:
        """Do what is planned for the request; also a flow that is no coroutine function."""
        one = self._wanted[str(live.request.reference)]
        if live.intent_id in self._diary.entered:
            self._diary.failures.append(f"{live.intent_id} was handed to two flows")
        self._diary.entered[live.intent_id] = live
        if one.flow == "sync":
            self._diary.left.add(live.intent_id)
            return "done"
        return self._run_flow(live, one)

    async def _run_flow(self, live: LiveActivation, one: Wanted) -> str:
        act: Callable[[LiveActivation, Wanted], Awaitable[bool]] = getattr(self, f"_{one.flow}")
        try:
            if await act(live, one):
                self._diary.kept.add(live.intent_id)
        finally:
            self._diary.left.add(live.intent_id)
        return one.flow

    async def _sms(self, live: LiveActivation) -> Sms:
        loop = asyncio.get_running_loop()
        wait = Wait(intent_id=live.intent_id, activation_id=live.activation_id, begun=loop.time())
        self._diary.waits.append(wait)
        try:
            wait.sms = await live.wait_for_sms()
        except BaseException as error:
            wait.error = type(error).__name__
            raise
        finally:
            wait.ended = loop.time()
        return wait.sms

    async def _wait(self, live: LiveActivation, one: Wanted) -> bool:
        await self._sms(live)
        return True

    _none = _wait

    async def _mark(self, live: LiveActivation, one: Wanted) -> bool:
        await asyncio.sleep(one.pause)
        live.mark_requested()
        await self._sms(live)
        return True

    async def _use(self, live: LiveActivation, one: Wanted) -> bool:
        await self._sms(live)
        await asyncio.sleep(one.pause)
        return True

    async def _return_now(self, live: LiveActivation, one: Wanted) -> bool:
        return False

    async def _fail_before(self, live: LiveActivation, one: Wanted) -> bool:
        await asyncio.sleep(one.pause)
        raise FlowError

    async def _fail_after(self, live: LiveActivation, one: Wanted) -> bool:
        await self._sms(live)
        raise FlowError

    async def _cancel_early(self, live: LiveActivation, one: Wanted) -> bool:
        waiter = asyncio.create_task(self._sms(live))
        try:
            await asyncio.sleep(one.pause)
            await live.cancel()
            await asyncio.wait({waiter})
        finally:
            waiter.cancel()
            await asyncio.gather(waiter, return_exceptions=True)
        return False

    async def _cancel_after_sms(self, live: LiveActivation, one: Wanted) -> bool:
        await self._sms(live)
        await live.cancel()
        return False

    async def _complete_early(self, live: LiveActivation, one: Wanted) -> bool:
        await self._sms(live)
        await live.complete()
        await asyncio.sleep(one.pause)
        return True

    async def _complete_wrongly(self, live: LiveActivation, one: Wanted) -> bool:
        had_sms = live.sms is not None
        try:
            await live.complete()
        except ActivationError:
            pass
        else:
            if had_sms:  # a webhook was quick
                return True
            self._diary.failures.append("an activation without SMS was completed")
        await self._sms(live)
        return True

    async def _own_timeout(self, live: LiveActivation, one: Wanted) -> bool:
        try:
            async with asyncio.timeout(one.pause):
                await self._sms(live)
        except SmsTimeoutError:
            raise
        except TimeoutError:
            await self._sms(live)
        return True

    async def _own_scope(self, live: LiveActivation, one: Wanted) -> bool:
        got = False
        with anyio.move_on_after(one.pause):
            await self._sms(live)
            got = True
        return got

    async def _two_waiters(self, live: LiveActivation, one: Wanted) -> bool:
        one_sms, other = await asyncio.gather(
            self._sms(live), self._sms(live), return_exceptions=True
        )
        if type(one_sms) is not type(other) or (isinstance(other, Sms) and one_sms != other):
            self._diary.failures.append("two waiters of one activation saw different things")
        if isinstance(one_sms, BaseException):
            raise one_sms
        return True

    async def _wait_again(self, live: LiveActivation, one: Wanted) -> bool:
        try:
            await self._sms(live)
        except PapSMSError as error:
            try:
                await self._sms(live)
            except PapSMSError as again:
                if type(again) is not type(error):
                    self._diary.failures.append("a second wait ended in another way")
            return False
        await self._sms(live)
        return True

    async def _hang_until_timeout(self, live: LiveActivation, one: Wanted) -> bool:
        async with asyncio.timeout(one.pause):
            await asyncio.Event().wait()
        return False
