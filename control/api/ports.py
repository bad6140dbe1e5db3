"""Owns what the API needs of other parts; `control/process/control_plane.py` hands them in."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from control.admission.fair_use import FairUse
from control.api.auth.authentication import Gate
from control.bus.interface import Bus
from control.model.api.balancer import LoadOfPartition, Rules, Waits
from control.model.api.queues import Queues
from control.model.api.reports import (
    PartitionStats,
    PipelineStats,
    Summary,
    TaskDetail,
    TaskStats,
    WorkerAttempt,
    WorkerStats,
)
from control.model.api.views import CheckView
from control.model.clock import Clock
from control.model.kinds import KindRegistry
from control.model.names import Metric
from control.transactions.run_transactions import Ledger
from store.database.reader import Reader
from store.database.writer import Offload, Writer
from store.retention import Removed
from store.views import Views


class Balancing(Protocol):
    """What the balancer knows. Where none runs or answers, there is little to tell."""

    def partitions(self) -> Sequence[LoadOfPartition]:
        """Every partition's load."""

    def rules(self) -> Rules | None:
        """What it goes by; None: nobody has said so yet."""

    async def waits(self, job_id: int) -> Waits | None:
        """Why a job waits at the balancer; None: it does not. Raises `BalancerSilent`."""

    async def queues(self, limit: int, client: str | None) -> Queues:
        """What waits there in groups, of one client or of all. Raises `BalancerSilent`."""

    def expected(self, pipeline: str, name: str) -> float | None:
        """How many seconds a job should take; None: nothing is known of it."""


class Reports(Protocol):
    """The statistics; every call blocks, and is made through the offload port."""

    def summary(self, window_ms: int, now_ms: int) -> Summary:
        """All that ended in the window."""

    def pipelines(self, window_ms: int, now_ms: int, limit: int) -> Sequence[PipelineStats]:
        """Each pipeline."""

    def slow_tasks(self, window_ms: int, now_ms: int, limit: int) -> Sequence[TaskStats]:
        """Each job of each pipeline."""

    def partitions(self, window_ms: int, now_ms: int, limit: int) -> Sequence[PartitionStats]:
        """Each partition."""

    def workers(self, window_ms: int, now_ms: int, limit: int) -> Sequence[WorkerStats]:
        """Each worker."""

    def task(
        self,
        of: tuple[str, str],
        window_ms: int,
        now_ms: int,
        limit: int,
        bounds: Callable[[float, float], Sequence[float]],
    ) -> TaskDetail:
        """The attempts at a job of a pipeline. `bounds` divides them, by the least and the most."""

    def worker(
        self, worker: str, window_ms: int, now_ms: int, limit: int
    ) -> Sequence[WorkerAttempt]:
        """What a worker executed."""

    def export(
        self, path: Path, form: Literal["parquet", "csv", "json"], since_ms: int | None
    ) -> int:
        """Write all facts, or those of jobs ready since then, to a file; raises `Rejected`."""

    def copy(self) -> tuple[Path, Sequence[str]]:
        """Bring the copy of the facts for users' queries up to date: directory, files."""

    def interrupt(self, what: Literal["report", "export", "copy"]) -> None:
        """End what is being made of this; it raises `StoreFailed`."""


class AttemptLogs(Protocol):
    """The logs of attempts."""

    def read(self, job_id: int, attempt: int) -> AsyncGenerator[bytes, None]:
        """What is there of an attempt's log."""

    async def check(self, job_id: int, attempt: int) -> None:
        """Raise `StoreFailed` where an attempt's log cannot be read."""

    def follow(
        self, job_id: int, attempt: int, log_bytes: Callable[[], Awaitable[int | None]]
    ) -> AsyncGenerator[bytes, None]:
        """The log from its begin, until the attempt has ended and all of it has come.

        `log_bytes` gives how long the log of an attempt that has ended is; None: it has not.
        """

    async def forget(self, removed: Sequence[Removed]) -> None:
        """Delete the logs of runs that are gone."""


class ProcessHealth(Protocol):
    """How the parts of this process are."""

    def parts(self) -> Mapping[str, str | None]:
        """Each part's problem in words; None: it is well."""

    def warnings(self) -> Sequence[str]:
        """What is not down, but an operator should know."""

    async def examine(self) -> Sequence[CheckView]:
        """What an operator should know of the bus and the clock."""

    def counts(self) -> Mapping[Metric, float]:
        """What the parts have counted, for Prometheus."""

    def lags(self) -> Mapping[tuple[str, str], int]:
        """How many records groups of this process have not finished, by group and topic."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Everything the calls work with."""

    reader: Reader
    writer: Writer
    ledger: Ledger
    views: Views
    bus: Bus
    gate: Gate
    kinds: KindRegistry
    offload: Offload
    balancing: Balancing
    reports: Reports
    logs: AttemptLogs
    health: ProcessHealth
    clock: Clock
    random_bytes: Callable[[int], bytes]
    life: str  # Which data these are, and which life of them.
    note_rotated: Callable[[str, str], None]
    """Keeps a client's new secret where the control plane keeps its own; may raise OSError."""
    fair: FairUse = field(default_factory=FairUse)

    def now_ms(self) -> int:
        """The wall clock: what people see."""
        return self.clock.wall_ms()
