"""``--exec``: a command for each verification drives the sign-up, and decides how it ends.

The command is started when the number is there. On its standard input it gets JSON Lines, first
``{"event": "number", ...}``, later ``{"event": "sms", ...}`` or ``{"event": "timeout", ...}``, and
then the end of the input. Its environment has ``PAPSMS_PHONE_NUMBER``, ``PAPSMS_ACTIVATION_ID``,
``PAPSMS_SERVICE``, ``PAPSMS_COUNTRY`` and ``PAPSMS_REFERENCE``, and never the API key. An
environment can't be changed once a command runs, so ``--exec-after-sms`` starts another one whose
environment has ``PAPSMS_CODE`` and ``PAPSMS_SMS_TEXT`` too.

A verification is completed when its SMS came and every command exited with 0. Otherwise its number
is given back. A command that exits before the SMS ends the verification, unless it exits with 0 and
a second one is to come. What commands print goes to the standard error of `papsms`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shlex
import shutil
import signal
import sys
from typing import Any

import attrs

from papsms_async.activation import LiveActivation
from papsms_async.cli.failures import CommandError
from papsms_async.cli.settings import SECRET_VARIABLES
from papsms_async.errors import SmsTimeoutError
from papsms_async.models import Sms

TERM_GRACE = 2.0
"""Seconds from SIGTERM to SIGKILL."""
TIMEOUT_GRACE = 5.0
"""Seconds that a command has to end by itself after it was told of a timeout."""


@attrs.frozen
class ExecReport:
    """How the commands of one verification ended.

    Attributes:
        status: Exit status of the one that decided; negative for a signal, ``None`` if it had to be
            ended.
        completed: Whether the SMS came and every command exited with 0.
    """

    status: int | None
    completed: bool


def split_command(option: str, text: str) -> tuple[str, ...]:
    """Cut a command into words as a shell does, and make sure that it can be started.

    Raises:
        CommandError: It can't.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise CommandError(f"{option}: {error}".lower().rstrip(".")) from error
    if not words or not words[0]:
        raise CommandError(f"{option}: there is no command")
    if "\0" in text:
        raise CommandError(f"{option}: the command has a NUL character")
    found = shutil.which(words[0])
    if found is None:
        raise CommandError(f"{option}: there is no command {words[0]!r} that could be started")
    return (found, *words[1:])


class ExecFlow:
    """The flow of a verification that commands drive.

    Args:
        command: Started with the number, or ``None``.
        after_sms: Started with the SMS, or ``None``.
        timeout: Seconds that a command may take after the SMS.
    """

    def __init__(
        self,
        command: tuple[str, ...] | None,
        after_sms: tuple[str, ...] | None = None,
        *,
        timeout: float = 120.0,
    ) -> None:
        self._command = command
        self._after_sms = after_sms
        self._timeout = timeout
        self._running: set[Child] = set()

    async def stop(self) -> None:
        """End every command that runs, and with it its verification."""
        await asyncio.gather(*(child.end() for child in tuple(self._running)))

    def kill(self) -> None:
        """Kill whatever runs, at once: the process is about to leave."""
        for child in self._running:
            child.signal(signal.SIGKILL)

    async def __call__(self, activation: LiveActivation) -> ExecReport:
        """Run one verification; see the module."""
        child: Child | None = None
        try:
            if self._command is not None:
                child = await self._start(self._command, activation)
            report = await self._drive(activation, child)
        except SmsTimeoutError:
            # Given back at once, and not only when the command has taken note.
            await activation.cancel()
            if child is not None:
                child.tell({"event": "timeout"}, last=True)
                await child.wait(TIMEOUT_GRACE)
            raise
        finally:
            if child is not None:
                await self._end(child)
        if not report.completed:
            await activation.cancel()
        return report

    async def _drive(self, activation: LiveActivation, child: Child | None) -> ExecReport:
        sms = await self._wait_for_sms(activation, child)
        if sms is None or child is None:
            status = None if child is None else child.status
        else:
            child.tell({"event": "sms", **_sms(sms)}, last=True)
            status = await child.wait(self._timeout)
        if sms is None:
            # Exited before the SMS: nothing was verified, whatever its status says.
            return ExecReport(status, completed=False)
        if self._after_sms is not None and (child is None or status == 0):
            second = await self._start(self._after_sms, activation, sms)
            try:
                second.tell({"event": "sms", **_sms(sms)}, last=True)
                status = await second.wait(self._timeout)
            finally:
                await self._end(second)
        return ExecReport(status, completed=status == 0)

    async def _wait_for_sms(self, activation: LiveActivation, child: Child | None) -> Sms | None:
        """Return the SMS, or ``None`` if the command ended the verification before it came."""
        waiting = asyncio.create_task(activation.wait_for_sms())
        waiting.add_done_callback(_seen)
        try:
            if child is not None:
                await asyncio.wait({waiting, child.exited}, return_when=asyncio.FIRST_COMPLETED)
                if not waiting.done() and not (child.status == 0 and self._after_sms is not None):
                    return None
            return await waiting
        finally:
            waiting.cancel()

    async def _start(
        self, command: tuple[str, ...], activation: LiveActivation, sms: Sms | None = None
    ) -> Child:
        number = {
            "event": "number",
            "phone_number": activation.phone_number,
            "activation_id": activation.activation_id,
            "service": activation.service,
            "country": activation.country,
            "reference": activation.request.reference,
            "cost": str(activation.cost),
            "expires_at": activation.expires_at.isoformat(),
        }
        child = await Child.start(command, _environment(activation, sms))
        self._running.add(child)
        child.tell(number)
        return child

    async def _end(self, child: Child) -> None:
        try:
            await child.end()
        finally:
            self._running.discard(child)


class Child:
    """One running command with its process group."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.exited = asyncio.ensure_future(process.wait())

    @classmethod
    async def start(cls, command: tuple[str, ...], environment: dict[str, str]) -> Child:
        """Start a command in a session of its own, so that it gets no Ctrl-C of the terminal."""
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=sys.stderr.fileno(),
            env=environment,
            start_new_session=True,
        )
        return cls(process)

    @property
    def status(self) -> int | None:
        """Its exit status, once it exited."""
        return self._process.returncode

    def tell(self, value: dict[str, Any], *, last: bool = False) -> None:
        """Write one line to its standard input; one that does not read it does no harm."""
        stdin = self._process.stdin
        if stdin is None or stdin.is_closing():
            return
        with contextlib.suppress(OSError, RuntimeError):
            stdin.write(json.dumps(value).encode() + b"\n")
            if last:
                stdin.close()

    async def wait(self, timeout: float) -> int | None:
        """Wait until it exits, at most ``timeout`` seconds, and return its exit status."""
        await asyncio.wait({self.exited}, timeout=timeout)
        return self.status

    def signal(self, number: int) -> None:
        """Send a signal to it and all that it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    async def end(self) -> None:
        """Make sure that it is gone: SIGTERM, and SIGKILL after a grace."""
        try:
            if not self.exited.done():
                self.signal(signal.SIGTERM)
                await asyncio.wait({self.exited}, timeout=TERM_GRACE)
        finally:
            if not self.exited.done():
                self.signal(signal.SIGKILL)
            if self._process.stdin is not None:
                self._process.stdin.close()
        await asyncio.wait({self.exited}, timeout=TERM_GRACE)


def _seen(task: asyncio.Task[Sms]) -> None:
    if not task.cancelled():
        task.exception()


def _environment(activation: LiveActivation, sms: Sms | None) -> dict[str, str]:
    environment = {k: v for k, v in os.environ.items() if k not in SECRET_VARIABLES}
    environment |= {
        "PAPSMS_PHONE_NUMBER": activation.phone_number,
        "PAPSMS_ACTIVATION_ID": activation.activation_id,
        "PAPSMS_SERVICE": activation.service,
        "PAPSMS_COUNTRY": activation.country,
        "PAPSMS_REFERENCE": activation.request.reference or "",
    }
    if sms is not None:
        environment["PAPSMS_CODE"] = _holdable(sms.code or "")
        environment["PAPSMS_SMS_TEXT"] = _holdable(sms.full_text)
    return environment


def _holdable(text: str) -> str:
    """Return a text of the service without what an environment can't hold."""
    return text.replace("\0", "").encode("utf-8", errors="replace").decode()


def _sms(sms: Sms) -> dict[str, Any]:
    received_at = None if sms.received_at is None else sms.received_at.isoformat()
    return {"code": sms.code, "full_text": sms.full_text, "received_at": received_at}
