"""Owns what Prometheus is told: counted here, or asked for when it looks."""

from collections.abc import Iterable, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from control.model.bus.messages import Finished
from control.model.names import Bound, Effect, Metric

MEDIA: Final = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS: Final = (0.005, 0.02, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0)
_COUNTED: Final = {
    Metric.COMMITS: "Transactions of the state database.",
    Metric.REFUSED: "Results that came late or twice, and did not count.",
    Metric.TRIGGERS_REFUSED: "Triggers that started nothing: over a bound, or not allowed.",
}
_STATES: Final = {
    Metric.WAITING: "Jobs that wait at this process's balancer, while it is the active one.",
    Metric.WORKERS: "Workers that are connected to this process.",
    Metric.SLOTS: "Slots of workers that are connected to this process.",
    Metric.LEASES: "Jobs that workers have from this process's dispatcher.",
    Metric.OUTBOX: "Rows that are committed and not on the bus yet.",
}
Lags = Mapping[tuple[str, str], int]
"""How many records of a topic a group of this process has not finished: (group, topic)."""


class Metrics:
    """One registry, made once; nothing is global."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._jobs = Counter(
            Metric.JOBS, "Attempts that ended.", ("outcome", "class"), registry=self.registry
        )
        self._duration = Histogram(
            Metric.DURATION,
            "From the begin of execution to its end.",
            ("class",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._wait = Histogram(
            Metric.WAIT,
            "From being ready to run to the begin of execution.",
            ("class",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._requests = Counter(
            Metric.REQUESTS,
            "HTTP requests.",
            ("method", "path", "status"),
            registry=self.registry,
        )
        self._gauges = {
            name: Gauge(name, words, registry=self.registry)
            for name, words in (
                (Metric.WAITING, "Jobs that wait."),
                (Metric.RUNNING, "Jobs that run."),
                (Metric.OPEN_RUNS, "Runs that have not ended."),
                (Metric.WORKERS, "Workers that are connected."),
                (Metric.SLOTS, "Slots of connected workers."),
                (Metric.STREAMS, "Listeners to live events."),
            )
        }
        self._counts = _Counts()
        self.registry.register(self._counts)

    def finished(self, message: Finished) -> None:
        """An attempt ended."""
        speed = message.speed
        self._jobs.labels(message.outcome, speed).inc()
        if message.started_ms is not None:
            self._duration.labels(speed).observe(message.duration_seconds)
            self._wait.labels(speed).observe(message.wait_seconds)

    def answered(self, method: str, path: str, status: int) -> None:
        """A request was answered; `path` is the route's, so there are few of them."""
        self._requests.labels(method, path, str(status)).inc()

    def render(
        self,
        gauges: Mapping[Metric, float],
        counts: Mapping[Metric, float],
        limited: Mapping[tuple[Bound, Effect], int],
        lags: Lags,
    ) -> bytes:
        """Everything, as Prometheus reads it."""
        for name, value in gauges.items():
            self._gauges[name].set(value)
        self._counts.now = dict(counts)
        self._counts.limited = dict(limited)
        self._counts.lags = dict(lags)
        return generate_latest(self.registry)


class _Counts:
    """Counters that other parts keep."""

    def __init__(self) -> None:
        self.now: dict[Metric, float] = {}
        self.limited: dict[tuple[Bound, Effect], int] = {}
        self.lags: Lags = {}

    def collect(self) -> Iterable[CounterMetricFamily | GaugeMetricFamily]:
        for name, words in _COUNTED.items():
            yield CounterMetricFamily(name, words, value=self.now.get(name, 0))
        limited = CounterMetricFamily(
            Metric.LIMITED, "What a bound delayed or refused.", labels=("bound", "effect")
        )
        for bound in Bound:
            for effect in Effect:
                limited.add_metric((bound, effect), self.limited.get((bound, effect), 0))
        yield limited
        for name in (Metric.LEASES, Metric.OUTBOX):
            if name in self.now:
                yield GaugeMetricFamily(name, _STATES[name], value=self.now[name])
        yield _lag(self.lags)


class _ProcessCollector:
    """What a process without an API tells of its parts."""

    def __init__(self, counts: Mapping[Metric, float], lags: Lags) -> None:
        self._counts = counts
        self._lags = lags

    def collect(self) -> Iterable[CounterMetricFamily | GaugeMetricFamily]:
        for name, value in self._counts.items():
            if name in _COUNTED:
                yield CounterMetricFamily(name, _COUNTED[name], value=value)
            else:
                yield GaugeMetricFamily(name, _STATES[name], value=value)
        yield _lag(self._lags)


def render_process(counts: Mapping[Metric, float], lags: Lags) -> bytes:
    """What a process without an API tells, as Prometheus reads it."""
    registry = CollectorRegistry()
    registry.register(_ProcessCollector(counts, lags))
    return generate_latest(registry)


def _lag(lags: Lags) -> GaugeMetricFamily:
    words = "Records that a group of this process has not finished."
    family = GaugeMetricFamily(Metric.LAG, words, labels=("group", "topic"))
    for (group, topic), count in sorted(lags.items()):
        family.add_metric((group, topic), count)
    return family
