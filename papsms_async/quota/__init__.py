"""Permits to send requests: the seam, and the limiter within one process."""

from papsms_async.bucket import QuotaHint
from papsms_async.quota.base import Permit, Priority, Quota, QuotaStatistics, Ticket
from papsms_async.quota.local import LocalQuota

__all__ = [
    "LocalQuota",
    "Permit",
    "Priority",
    "Quota",
    "QuotaHint",
    "QuotaStatistics",
    "Ticket",
]
