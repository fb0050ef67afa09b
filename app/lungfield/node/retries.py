"""Retries of deliveries: exponential backoff with jitter, up to a time limit."""

from __future__ import annotations

import logging
import random
import time

from lungfield.node.records import Delivery
from lungfield.node.settings import Destination
from lungfield.node.store import Store

_LOG = logging.getLogger(__name__)
_LARGEST_EXPONENT = 30


def pause_s(destination: Destination, failures: int) -> float:
    """The pause after a number of failures, in seconds.

    It doubles with each failure, up to `longest_retry_s`. A random factor from 0.5 to 1 keeps deliveries that
    failed together from being retried together.
    """
    longest = destination.first_retry_s * 2 ** min(max(failures - 1, 0), _LARGEST_EXPONENT)
    return min(longest, destination.longest_retry_s) * random.uniform(0.5, 1.0)  # noqa: S311


def record_failure(
    store: Store, destination: Destination, delivery: Delivery, error: str, *, final: bool = False
) -> None:
    """Store a failed attempt: schedule a retry, or pass the delivery to the fallback, or park it.

    Args:
        store: the queue.
        destination: of the delivery.
        delivery: as before the attempt.
        error: why it failed, without identity.
        final: whether neither a retry nor the fallback can succeed.
    """
    now, end = time.time(), delivery.since + destination.retry_for_s
    about = {
        "instance": delivery.instance_id,
        "destination": destination.name,
        "attempts": delivery.attempts + 1,
    }
    if final or now >= end:
        fallback = None if final else destination.fallback
        _LOG.error("a delivery failed for good: %s", error, extra=about)
        store.park_delivery(delivery.id, error, fallback)
        return
    again = min(now + pause_s(destination, delivery.attempts + 1), end)
    _LOG.warning("a delivery failed: %s", error, extra=about | {"next_attempt_s": round(again - now, 1)})
    store.failed(delivery.id, error, again)
