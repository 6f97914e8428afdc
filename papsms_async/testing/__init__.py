"""Tools for tests: virtual time, the service in memory, and recorded sessions."""

from papsms_async.testing.memory_transport import MemoryService, MemoryTransport
from papsms_async.testing.memory_webhooks import MemoryWebhooks
from papsms_async.testing.replaying import replay
from papsms_async.testing.virtual_time import (
    DeadlockError,
    VirtualTimeLoop,
    run_virtual,
    virtual_runner,
    virtual_time,
)

__all__ = [
    "DeadlockError",
    "MemoryService",
    "MemoryTransport",
    "MemoryWebhooks",
    "VirtualTimeLoop",
    "replay",
    "run_virtual",
    "virtual_runner",
    "virtual_time",
]
