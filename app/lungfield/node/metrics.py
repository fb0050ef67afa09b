"""The node's metrics for Prometheus, in their own registry.

Gauges (queues, ages, disk) are read from the queue on each scrape. Counters and histograms (times by stage,
failures, flags) are computed from the queue's transitions, each counted once. They start at 0 with the node,
as counters may (https://prometheus.io/docs/concepts/metric_types).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version

from prometheus_client import CollectorRegistry, Counter, Histogram, Metric, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily

from lungfield.node.reading import Reading
from lungfield.node.records import Instance, Sending, State, Transition
from lungfield.node.status import Status

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14400, 86400)
_AT_ONCE = 5000


class Metrics:
    """The metrics of a node.

    Args:
        store: its queue.
        status: returns the current status of the node.
        readiness: returns, by check, why the node is not ready; '' for a check that passes.
    """

    def __init__(
        self, store: Reading, status: Callable[[], Status], readiness: Callable[[], Mapping[str, str]]
    ) -> None:
        self._status, self._readiness = status, readiness
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)
        self._history = _History(store, self._registry)

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        self._history.read()
        return generate_latest(self._registry)

    def describe(self) -> list[Metric]:
        """Return nothing, so that the registry does not call `collect` on registration."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The gauges."""
        status = self._status()
        info = InfoMetricFamily("lungfield_node", "The program.")
        info.add_metric((), {"version": version("lungfield")})
        yield info
        yield _gauge(
            "instances", "Instances by state.", "state", {one.state: one.count for one in status.queue}
        )
        yield _gauge(
            "oldest_seconds",
            "Age of the oldest instance in a state that it should leave.",
            "state",
            {one.state: one.oldest_s or 0.0 for one in status.queue if one.state not in _ENDS},
        )
        yield _gauge("parked", "Parked instances by reason code.", "code", status.failures)
        yield _gauge("skipped", "Skipped instances by reason code.", "code", status.skipped)
        deliveries = GaugeMetricFamily(
            "lungfield_node_deliveries",
            "Deliveries by destination and state.",
            labels=("destination", "state"),
        )
        for one in status.deliveries:
            for state, count in one.counts.items():
                deliveries.add_metric((one.destination, state), count)
        yield deliveries
        yield _gauge(
            "oldest_delivery_seconds",
            "For how long the oldest delivery is tried that has not arrived.",
            "destination",
            {one.destination: one.oldest_s or 0.0 for one in status.deliveries},
        )
        yield GaugeMetricFamily(
            "lungfield_node_disk_free_bytes", "Free on the state folder's disk.", status.disk_free_bytes
        )
        if status.disk_threshold_bytes is not None:
            yield GaugeMetricFamily(
                "lungfield_node_disk_threshold_bytes",
                "Free space below which radiographs are refused.",
                status.disk_threshold_bytes,
            )
        ready = {check: float(not why) for check, why in self._readiness().items()}
        yield _gauge("ready", "1 where a check of readiness passes, else 0.", "check", ready)


_ENDS = (State.DELIVERED, State.SKIPPED)


def _gauge(name: str, help_text: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    gauge = GaugeMetricFamily(f"lungfield_node_{name}", help_text, labels=(label,))
    for value, number in values.items():
        gauge.add_metric((value,), number)
    return gauge


class _History:
    """Counters and histograms of the transitions since the start."""

    def __init__(self, store: Reading, registry: CollectorRegistry) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._last = store.last_transition()
        self._stages = Histogram(
            "lungfield_node_stage_seconds",
            "Time of a stage: queued (received until a worker took it), segmenting (in a worker), delivering "
            "(segmented until a destination had it), total (received until all destinations had it).",
            ("stage",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._ended = Counter(
            "lungfield_node_changes", "Changes of instances, by new state.", ("state",), registry=registry
        )
        self._failures = Counter(
            "lungfield_node_failures",
            "Instances that were parked, by reason code.",
            ("code",),
            registry=registry,
        )
        self._refused = Counter(
            "lungfield_node_failed_tries", "Deliveries that failed.", ("destination",), registry=registry
        )
        self._flags = Counter(
            "lungfield_node_flags", "Flags of segmented radiographs.", ("flag",), registry=registry
        )

    def read(self) -> None:
        """Count the transitions since the last call."""
        with self._lock:
            while True:
                self._last, changes = self._store.transitions_after(self._last, _AT_ONCE)
                for change in changes:
                    self._count(change)
                if len(changes) < _AT_ONCE:
                    return

    def _count(self, change: Transition) -> None:
        if change.destination is not None:
            self._count_delivery(change)
            return
        self._ended.labels(change.to_state).inc()
        instance = self._store.instance(change.instance_id)
        if instance is None or change.to_state == State.RECEIVED:
            return
        if change.from_state == State.RECEIVED and change.to_state != State.PARKED:
            self._count_segmented(change, instance)
        if change.to_state == State.PARKED:
            # It may have been retried meanwhile, and then has no code.
            self._failures.labels(instance.reason_code or "retried").inc()
        if change.to_state == State.DELIVERED:
            self._stages.labels("total").observe(max(change.at - instance.received_at, 0.0))

    def _count_segmented(self, change: Transition, instance: Instance) -> None:
        worker = float((instance.row or {}).get("seconds") or 0.0)
        self._stages.labels("segmenting").observe(worker)
        self._stages.labels("queued").observe(max(change.at - instance.received_at - worker, 0.0))
        for flag in instance.flags:
            self._flags.labels(flag).inc()

    def _count_delivery(self, change: Transition) -> None:
        destination = str(change.destination)
        if change.to_state == Sending.DELIVERED:
            found = [
                one for one in self._store.deliveries(change.instance_id) if one.destination == destination
            ]
            for one in found:
                self._stages.labels("delivering").observe(max(change.at - one.since, 0.0))
        elif change.from_state and change.to_state == Sending.WAITING and change.reason:
            self._refused.labels(destination).inc()
