"""Owns the calls about what runs jobs (workers, partitions) and about this process itself."""

from typing import Annotated, Final

import msgspec
from msgspec import Meta, Raw

from control.admission.fair_use import FairUse
from control.api.http.problems import UpgradeRequired
from control.api.http.request import ApiResponse, Call, Operation, Route, routes_of
from control.api.live.broadcaster import Events
from control.api.live.projection import Live
from control.api.metrics import MEDIA, Metrics
from control.api.ports import Balancing, ProcessHealth
from control.bus.interface import Bus
from control.model.api.fleet import PartitionView, PartitionWithJobs, WorkerView
from control.model.api.views import Page, Time
from control.model.bus.messages import DrainWorker
from control.model.bus.records import Record
from control.model.clock import Clock
from control.model.errors import NotFound
from control.model.names import Metric, Topic
from control.model.times import to_rfc3339
from store import views
from store.database.reader import Reader
from store.database.writer import Writer

EVENTS_PATH: Final = "/v1/events"


class HealthView(msgspec.Struct, frozen=True, kw_only=True):
    """How this control plane is."""

    status: Annotated[str, Meta(description="ok, or what is down.", examples=["ok"])]
    parts: Annotated[
        dict[str, str],
        Meta(description="Each part: ok, or its problem.", examples=[{"store": "ok"}]),
    ]
    warnings: Annotated[
        list[str],
        Meta(
            description="What is not down, but an operator should know.",
            examples=[["the wall clock was set by +3600.0 s, to 2026-11-22T09:30:00.000Z"]],
        ),
    ]
    version: Annotated[str, Meta(description="Of Taskplane.", examples=["0.1.0"])]
    time: Time


class Drained(msgspec.Struct, frozen=True, kw_only=True):
    """A worker that was told to take nothing new."""

    id: Annotated[str, Meta(description="The worker's name.", examples=["runner-1"])]
    state: Annotated[str, Meta(description="It leaves when it is done.", examples=["draining"])]


class WorkerCalls:
    """Carries out the calls about workers, partitions, and this process."""

    def __init__(
        self,
        *,
        reader: Reader,
        writer: Writer,
        bus: Bus,
        balancing: Balancing,
        health: ProcessHealth,
        clock: Clock,
        fair: FairUse,
        live: Live,
        events: Events,
        metrics: Metrics,
        version: str,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._bus = bus
        self._balancing = balancing
        self._health = health
        self._clock = clock
        self._fair = fair
        self._version = version
        self._live = live
        self._events = events
        self._metrics = metrics

    def routes(self) -> list[Route]:
        """Which call is carried out by what."""
        return routes_of(
            self._show_health,
            self._workers,
            self._drain,
            self._partitions,
            self._partition,
            self._refuse_plain,
            self._scraped,
        )

    @Operation(
        method="GET",
        path="/v1/health",
        name="health",
        summary="Whether every part works",
        tag="system",
        answer=HealthView,
        also=(503,),
    )
    async def _show_health(self, call: Call) -> ApiResponse:
        del call
        parts = dict(self._health.parts())
        if self._writer.failing:
            parts["store"] = self._writer.failing
        down = sorted(name for name, problem in parts.items() if problem)
        body = HealthView(
            status=f"down: {', '.join(down)}" if down else "ok",
            parts={name: problem or "ok" for name, problem in parts.items()},
            warnings=list(self._health.warnings()),
            version=self._version,
            time=to_rfc3339(self._clock.wall_ms()),
        )
        return ApiResponse(body=body, status=503 if down else 200)

    @Operation(
        method="GET",
        path="/v1/workers",
        name="listWorkers",
        summary="List workers with what they run, and those lost in the last ten minutes",
        tag="workers",
        answer=Page[WorkerView],
    )
    async def _workers(self, call: Call) -> ApiResponse:
        del call
        return ApiResponse(body=Page(items=self._live.crew.workers()))

    @Operation(
        method="POST",
        path="/v1/workers/{worker_id}/drain",
        name="drainWorker",
        summary="Let a worker finish what it runs and leave",
        tag="workers",
        answer=Drained,
        errors=(404,),
    )
    async def _drain(self, call: Call) -> ApiResponse:
        worker = call.text("worker_id")
        if not self._live.crew.has_worker(worker):
            message = f"no worker {worker[:128]} is connected"
            raise NotFound(message)
        await self._bus.publish([Record(Topic.TASK_COMMANDS, DrainWorker(worker=worker))])
        return ApiResponse(body=Drained(id=worker, state="draining"))

    @Operation(
        method="GET",
        path="/v1/partitions",
        name="listPartitions",
        summary="List partitions with their load",
        tag="workers",
        answer=Page[PartitionView],
    )
    async def _partitions(self, call: Call) -> ApiResponse:
        del call
        loads = self._balancing.partitions()
        return ApiResponse(body=Page(items=self._live.partitions(loads)))

    @Operation(
        method="GET",
        path="/v1/partitions/{partition}",
        name="showPartition",
        summary="Show a partition with what was placed in it",
        tag="workers",
        answer=PartitionWithJobs,
        errors=(404, 422),
    )
    async def _partition(self, call: Call) -> ApiResponse:
        number = call.number("partition")
        loads = self._balancing.partitions()
        for load in loads:
            if load.partition == number:
                return ApiResponse(body=self._live.partition(load))
        there = f"there are {len(loads)}, numbered from 0" if loads else "none is known yet"
        message = f"there is no partition {number}: {there}"
        raise NotFound(message)

    @Operation(
        method="GET",
        path=EVENTS_PATH,
        name="events",
        summary="Live changes over a websocket: a snapshot, then what changed",
        tag="system",
        answer=Raw,
        status=101,
        errors=(426, 429),
    )
    async def _refuse_plain(self, call: Call) -> ApiResponse:
        del call
        raise UpgradeRequired

    @Operation(
        method="GET",
        path="/metrics",
        name="metrics",
        summary="What Prometheus reads",
        tag="system",
        media=MEDIA,
        answer=str,
    )
    async def _scraped(self, call: Call) -> ApiResponse:
        del call
        waiting, open_runs = await self._reader.read(
            lambda conn: (views.waiting_jobs(conn), views.open_runs(conn))
        )
        running, workers, slots = self._live.crew.totals()
        gauges = {
            Metric.WAITING: waiting,
            Metric.OPEN_RUNS: open_runs,
            Metric.RUNNING: running,
            Metric.WORKERS: workers,
            Metric.SLOTS: slots,
            Metric.STREAMS: self._events.listeners,
        }
        limited = self._fair.tally.counts
        health = self._health
        body = self._metrics.render(gauges, health.counts(), limited, health.lags())
        return ApiResponse(body=body)
