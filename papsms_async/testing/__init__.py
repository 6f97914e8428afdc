"""Tools for tests: virtual time."""

from papsms_async.testing.virtual_time import (
    DeadlockError,
    VirtualTimeLoop,
    run_virtual,
    virtual_runner,
    virtual_time,
)

__all__ = [
    "DeadlockError",
    "VirtualTimeLoop",
    "run_virtual",
    "virtual_runner",
    "virtual_time",
]
