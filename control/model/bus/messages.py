"""Owns what is written to the bus: one frozen Struct a message, one union, one decoder.

`forbid_unknown_fields` stays off on purpose: a newer service may add a field (the rule for
`schema: 1`), and an older reader must go on. Raw fields hold JSON that stays undecoded on the way.
"""

from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from control.model.api.balancer import LoadOfPartition, Rules, Waits
from control.model.api.queues import Queues
from control.model.bus.child_messages import ChildMessage
from control.model.bus.job_identity import AttemptMessage, JobIdentity
from control.model.bus.reports import DeadLetter, RecordsLost, Versioned
from control.model.names import Service
from control.model.numbers import (
    Attempt,
    Count,
    Epoch,
    ExitCode,
    Id,
    Instant,
    LogOffset,
    Partition,
    Priority,
    Seconds,
    Share,
)
from control.model.raw import null
from control.model.states import Outcome, Role, Speed
from control.model.this import Subject
from control.model.worker.isolation import Isolation

SecretHash = Annotated[
    str, Meta(pattern=r"^scrypt\$1\d\$\d\$\d\$([0-9a-f]{2}){1,64}\$([0-9a-f]{2}){1,64}$")
]
PriorityKey = tuple[Priority, Priority, Priority, Priority]
"""Client, run, stage, and job priority: docs/contract.md, "The order of waiting jobs"."""


class JobReady(JobIdentity, frozen=True, kw_only=True, tag="job_ready"):
    """A job whose predecessors have ended: it may run as soon as a slot is free.

    `work` is what only the worker reads: `{"params": …, "env": …}`. `input` is
    `{"run": …, "jobs": …}`. Times are UTC milliseconds, durations seconds.
    """

    order: PriorityKey
    created_ms: Instant  # Of the run: later stages keep the place of their run.
    ready_ms: Instant
    stages_left: Count = 1  # Of the run, this one counted.
    retries_left: Count = 0
    lost: Count = 0  # How many workers this job has lost so far.
    returned: Count = 0  # How often this attempt was placed, did not begin, and came back.
    timeout: Seconds | None = None
    max_running: Count | None = None  # The client's.
    labels: tuple[str, ...] = ()
    subject: Subject = Subject()  # What is not said above.
    work: Raw = msgspec.field(default_factory=null)
    input: Raw = msgspec.field(default_factory=null)

    @property
    def key(self) -> tuple[str, str]:
        """What durations are learned by: the pipeline and the job's name."""
        return (self.pipeline, self.name)


class Placed(Versioned, frozen=True, kw_only=True, tag="placed"):
    """A job bound to a partition and a worker's slot.

    `nonce` is random, and the lease's epoch: only who was assigned the job can name its lease.
    (Of an earlier version, where it is 0, the first place on the bus is the epoch.) `epoch` keeps
    that place when another dispatcher takes the lease over. `owner`: the client of the worker.
    """

    job: JobReady
    partition: Partition
    worker: str
    speed: Speed
    expected: Seconds  # Seconds.
    epoch: Epoch | None = None
    nonce: Epoch = 0
    owner: str = ""  # Empty: not known, so any client's worker of this name may have it.

    def epoch_at(self, place: int) -> int:
        """The epoch of its lease; `place`: where it stands on the bus."""
        return self.epoch if self.epoch is not None else self.nonce or place


class Started(AttemptMessage, frozen=True, kw_only=True, tag="started"):
    """An attempt began to execute."""

    worker: str
    partition: Partition
    started_ms: Instant


class Unstarted(AttemptMessage, frozen=True, kw_only=True, tag="unstarted"):
    """An attempt that had been said to begin did not: its worker has handed it back."""

    worker: str
    reason: str


class Progressed(AttemptMessage, frozen=True, kw_only=True, tag="progressed"):
    """An attempt says how much is done: from 0 to 1."""

    progress: Share


class Finished(JobIdentity, frozen=True, kw_only=True, tag="finished"):
    """How one attempt ended. Published together with the receipt of its `Placed`, so only once."""

    worker: str
    partition: Partition
    speed: Speed
    outcome: Outcome
    final: bool  # False: it failed or was lost, and will be tried again.
    expected: Seconds  # Seconds the balancer had expected.
    ready_ms: Instant
    started_ms: Instant | None  # None: it never began.
    finished_ms: Instant
    wait_seconds: Seconds
    duration_seconds: Seconds
    exit_code: ExitCode | None = None
    error: str | None = None
    log_bytes: Count = 0
    input: Raw = msgspec.field(default_factory=null)
    output: Raw = msgspec.field(default_factory=null)
    details: Raw | UnsetType = UNSET  # Of its kind, on that kind's topic of results only.


class Skipped(AttemptMessage, frozen=True, kw_only=True, tag="skipped"):
    """A job ended without an attempt: it was cancelled before it began."""

    pipeline: str
    name: str
    kind: str
    client: str
    ready_ms: Instant
    finished_ms: Instant
    reason: str


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """A job that a dispatcher holds a lease for."""

    job_id: Id
    attempt: Attempt
    client: str
    pipeline: str
    name: str
    speed: Speed
    expected: Seconds
    started_ms: Instant | None = None


class WorkerUp(Versioned, frozen=True, kw_only=True, tag="worker_up"):
    """A worker connected, came back, or changed; replaces all that was known of it."""

    worker: str
    dispatcher: str
    host: str
    slots: Count
    labels: tuple[str, ...]
    kinds: tuple[tuple[str, tuple[str, ...]], ...]  # Names with versions.
    partitions: tuple[Partition, ...]  # One for each slot.
    draining: bool
    connected_ms: Instant
    holds: tuple[Hold, ...] = ()
    isolation: Isolation | None = None  # None: it does not say.
    client: str = ""  # Which one connected it; empty: an earlier version did not say.
    instance: str = ""  # Of the process; empty: it is of an earlier version.
    sick: str = ""  # Why it cannot start attempts; empty: it can.

    @property
    def takes_new(self) -> bool:
        """Whether it may be given new jobs."""
        return not (self.draining or self.sick)


class WorkerDown(Versioned, frozen=True, kw_only=True, tag="worker_down"):
    """A worker's socket closed or fell silent. Its jobs follow as LOST when the grace is over.

    `drained`: it left as an operator or its own process had asked, and had no lease.
    """

    worker: str
    dispatcher: str
    reason: str
    drained: bool = False


class WorkerQuiet(Versioned, frozen=True, kw_only=True, tag="worker_quiet"):
    """A connected worker has said nothing since then; None: it speaks again."""

    worker: str
    dispatcher: str
    since_ms: Instant | None


class Overran(Versioned, frozen=True, kw_only=True, tag="overran"):
    """These jobs take far longer than expected; what waited behind them was called back."""

    worker: str
    job_ids: tuple[Id, ...]


class DispatcherUp(Versioned, frozen=True, kw_only=True, tag="dispatcher_up"):
    """A dispatcher started or was asked to announce itself: all that it knows.

    Replaces everything known of this dispatcher. `adrift` are leases without a worker.
    """

    dispatcher: str
    partitions: tuple[Partition, ...]
    workers: tuple[WorkerUp, ...]
    adrift: tuple[Hold, ...]


class LogChunk(Versioned, frozen=True, kw_only=True, tag="log_chunk"):
    """Text of an attempt's log from byte `offset` on. A later offset than expected is a gap."""

    job_id: Id
    attempt: Attempt
    offset: LogOffset
    text: str


class CancelJob(Versioned, frozen=True, kw_only=True, tag="cancel_job"):
    """Take this job out of every queue; stop it where it runs."""

    job_id: Id
    attempt: Attempt
    reason: str


class ReorderJob(Versioned, frozen=True, kw_only=True, tag="reorder_job"):
    """A waiting job's place in the order changed."""

    job_id: Id
    order: PriorityKey


class ClientChanged(Versioned, frozen=True, kw_only=True, tag="client_changed"):
    """A client's limits changed; they hold for its waiting jobs too.

    `secret_hash` only of a client that may connect workers (`role`): dispatchers elsewhere let
    them in by it. None: it may not, or no longer.
    """

    client: str
    priority: Priority
    max_running: Count | None
    role: Role | None = None
    secret_hash: SecretHash | None = None


class SplitChanged(Versioned, frozen=True, kw_only=True, tag="split_changed"):
    """This share of the partitions is for slow jobs from now on; None: it follows the mix."""

    slow_share: Share | None


class DrainWorker(Versioned, frozen=True, kw_only=True, tag="drain_worker"):
    """Give this worker no new jobs; it leaves when the running ones have ended."""

    worker: str


class Deadline(Versioned, frozen=True, kw_only=True, tag="deadline"):
    """A run must have ended by then."""

    run_id: Id
    at_ms: Instant


class Announce(Versioned, frozen=True, kw_only=True, tag="announce"):
    """Somebody starts and knows nothing yet: tell what there is.

    Dispatchers answer with `DispatcherUp`; to a balancer or a dispatcher the state's owner tells
    all clients and the split, and to a balancer or the API the statistics tell `Learned`.
    """

    by: Service


class Learned(Versioned, frozen=True, kw_only=True, tag="learned"):
    """Durations of earlier runs, in seconds, oldest first, by pipeline and job."""

    durations: tuple[tuple[str, str, tuple[Seconds, ...]], ...]


class Loads(Versioned, frozen=True, kw_only=True, tag="loads"):
    """Every partition's load, and the rules in force; said when they have changed.

    Dispatchers divide their workers' slots by the classes that are told here.
    """

    loads: tuple[LoadOfPartition, ...]
    rules: Rules


class AskWhy(Versioned, frozen=True, kw_only=True, tag="ask_why"):
    """Why does this job wait? The balancer answers with `ToldWhy`."""

    job_id: Id


class ToldWhy(Versioned, frozen=True, kw_only=True, tag="told_why"):
    """Why a job waits; None: it does not wait at the balancer."""

    job_id: Id
    waits: Waits | None


class AskQueues(Versioned, frozen=True, kw_only=True, tag="ask_queues"):
    """What waits at the balancer, in groups? `client`: of this one only; None: of all.

    The balancer answers with `ToldQueues`.
    """

    limit: Count
    client: str | None


class ToldQueues(Versioned, frozen=True, kw_only=True, tag="told_queues"):
    """What waits at the balancer, in `limit` groups at most."""

    limit: Count
    client: str | None
    queues: Queues


Message = (
    JobReady
    | Placed
    | Started
    | Unstarted
    | Progressed
    | Finished
    | Skipped
    | ChildMessage
    | WorkerUp
    | WorkerDown
    | WorkerQuiet
    | Overran
    | DispatcherUp
    | LogChunk
    | CancelJob
    | ReorderJob
    | ClientChanged
    | SplitChanged
    | DrainWorker
    | Deadline
    | Announce
    | Learned
    | Loads
    | AskWhy
    | ToldWhy
    | AskQueues
    | ToldQueues
    | DeadLetter
    | RecordsLost
)

ENCODER: Final = msgspec.json.Encoder()
DECODER: Final = msgspec.json.Decoder(Message)
BATCH_DECODER: Final = msgspec.json.Decoder(list[Message])
