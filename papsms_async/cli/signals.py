"""Kept while recover_command moves to `papsms_async.signals`."""

from papsms_async.signals import Interrupts

__all__ = ["Interrupts"]
