"""When a delivery is tried again, and when no more: exponential, jittered, bounded in time."""

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
    """The pause after so many failures, in seconds.

    Each is twice as long as the last, up to `longest_retry_s`; a random part of its second half is left out:
    what failed together is not tried together.
    """
    longest = destination.first_retry_s * 2 ** min(max(failures - 1, 0), _LARGEST_EXPONENT)
    return min(longest, destination.longest_retry_s) * random.uniform(0.5, 1.0)  # noqa: S311


def put_off(
    store: Store, destination: Destination, delivery: Delivery, error: str, *, final: bool = False
) -> None:
    """Note that a try has failed: there is another one, or the fallback gets the delivery, or it is parked.

    Args:
        store: the queue.
        destination: of the delivery.
        delivery: as it was before the try.
        error: why it failed, without identity.
        final: whether no other try, and no other destination, can do better.
    """
    now, end = time.time(), delivery.since + destination.retry_for_s
    about = {
        "instance": delivery.instance_id,
        "destination": destination.name,
        "attempts": delivery.attempts + 1,
    }
    if final or now >= end:
        fallback = None if final else destination.fallback
        _LOG.error("no try to deliver is left: %s", error, extra=about)
        store.park_delivery(delivery.id, error, fallback)
        return
    again = min(now + pause_s(destination, delivery.attempts + 1), end)
    _LOG.warning("a delivery failed: %s", error, extra=about | {"next_attempt_s": round(again - now, 1)})
    store.failed(delivery.id, error, again)
