"""Owns what is written to the bus: one frozen Struct a message, one union, one decoder.

`forbid_unknown_fields` stays off here on purpose: a newer service may add a field (the rule for
`schema: 1`), and an older reader must go on. Raw fields hold JSON that nobody on the way needs to
understand.
"""

from typing import Final

import msgspec
from msgspec import Raw

from control.model.balancing import LoadOfPartition, Rules, Waits
from control.model.isolation import Isolation
from control.model.names import Service
from control.model.queues import Queues
from control.model.states import Outcome, Role, Speed

NULL: Final = Raw(b"null")

PriorityKey = tuple[int, int, int, int]
"""Client, run, stage, and job priority: the strict global order of CONTRACT.md section 3."""


class _Message(msgspec.Struct, frozen=True, kw_only=True):
    schema: int = 1


class JobReady(_Message, frozen=True, kw_only=True, tag="job_ready"):
    """A job whose predecessors have ended: it may run as soon as a slot is free.

    `work` is what only the worker reads: `{"params": …, "env": …}`. `input` is
    `{"run": …, "jobs": …}`. Times are UTC milliseconds, durations seconds.
    """

    run_id: int
    job_id: int
    attempt: int
    pipeline: str
    name: str
    stage: str
    client: str
    kind: str
    version: str
    order: PriorityKey
    created_ms: int  # Of the run: later stages keep the place of their run.
    ready_ms: int
    stages_left: int = 1  # Of the run, this one counted.
    retries_left: int = 0
    lost: int = 0  # How many workers this job has lost so far.
    timeout: float | None = None
    max_running: int | None = None  # The client's.
    labels: tuple[str, ...] = ()
    work: Raw = NULL
    input: Raw = NULL

    @property
    def key(self) -> tuple[str, str]:
        """What durations are learned by: the pipeline and the job's name."""
        return (self.pipeline, self.name)


class Placed(_Message, frozen=True, kw_only=True, tag="placed"):
    """A job bound to a partition and a worker's slot.

    `nonce` is random, and the lease's epoch: only who was assigned the job can name its lease.
    (Of an earlier version, where it is 0, the first place on the bus is the epoch.) `epoch` keeps
    that place when another dispatcher takes the lease over. `owner`: the client of the worker.
    """

    job: JobReady
    partition: int
    worker: str
    speed: Speed
    expected: float  # Seconds.
    epoch: int | None = None
    nonce: int = 0
    owner: str = ""  # Empty: not known, so any client's worker of this name may have it.

    def epoch_at(self, place: int) -> int:
        """The epoch of its lease; `place`: where it stands on the bus."""
        return self.epoch if self.epoch is not None else self.nonce or place


class Started(_Message, frozen=True, kw_only=True, tag="started"):
    """An attempt began to execute."""

    run_id: int
    job_id: int
    attempt: int
    worker: str
    partition: int
    started_ms: int


class Unstarted(_Message, frozen=True, kw_only=True, tag="unstarted"):
    """An attempt that had been said to begin did not: its worker has handed it back."""

    run_id: int
    job_id: int
    attempt: int
    worker: str
    reason: str


class Progressed(_Message, frozen=True, kw_only=True, tag="progressed"):
    """An attempt says how much is done: from 0 to 1."""

    run_id: int
    job_id: int
    attempt: int
    progress: float


class Finished(_Message, frozen=True, kw_only=True, tag="finished"):
    """How one attempt ended. Published together with the receipt of its `Placed`, so only once."""

    run_id: int
    job_id: int
    attempt: int
    pipeline: str
    name: str
    stage: str
    client: str
    kind: str
    version: str
    worker: str
    partition: int
    speed: Speed
    outcome: Outcome
    final: bool  # False: it failed or was lost, and will be tried again.
    expected: float  # Seconds the balancer had expected.
    ready_ms: int
    started_ms: int | None  # None: it never began.
    finished_ms: int
    wait_seconds: float
    duration_seconds: float
    exit_code: int | None = None
    error: str | None = None
    log_bytes: int = 0
    input: Raw = NULL
    output: Raw = NULL


class Skipped(_Message, frozen=True, kw_only=True, tag="skipped"):
    """A job ended without an attempt: it was cancelled before it began."""

    run_id: int
    job_id: int
    attempt: int
    pipeline: str
    name: str
    kind: str
    client: str
    ready_ms: int
    finished_ms: int
    reason: str


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """A job that a dispatcher holds a lease for."""

    job_id: int
    attempt: int
    client: str
    pipeline: str
    name: str
    speed: Speed
    expected: float
    started_ms: int | None = None


class WorkerUp(_Message, frozen=True, kw_only=True, tag="worker_up"):
    """A worker connected, came back, or changed; replaces all that was known of it."""

    worker: str
    dispatcher: str
    host: str
    slots: int
    labels: tuple[str, ...]
    kinds: tuple[tuple[str, tuple[str, ...]], ...]  # Names with versions.
    partitions: tuple[int, ...]  # One for each slot.
    draining: bool
    connected_ms: int
    holds: tuple[Hold, ...] = ()
    isolation: Isolation | None = None  # None: it does not say.
    client: str = ""  # Which one connected it; empty: an earlier version did not say.
    instance: str = ""  # Of the process; empty: it is of an earlier version.
    sick: str = ""  # Why it cannot start attempts; empty: it can.

    @property
    def takes_new(self) -> bool:
        """Whether it may be given new jobs."""
        return not (self.draining or self.sick)


class WorkerDown(_Message, frozen=True, kw_only=True, tag="worker_down"):
    """A worker's socket closed or fell silent. Its jobs follow as LOST when the grace is over."""

    worker: str
    dispatcher: str
    reason: str


class WorkerQuiet(_Message, frozen=True, kw_only=True, tag="worker_quiet"):
    """A connected worker has said nothing since then; None: it speaks again."""

    worker: str
    dispatcher: str
    since_ms: int | None


class Overran(_Message, frozen=True, kw_only=True, tag="overran"):
    """These jobs take far longer than expected; what waited behind them was called back."""

    worker: str
    job_ids: tuple[int, ...]


class DispatcherUp(_Message, frozen=True, kw_only=True, tag="dispatcher_up"):
    """A dispatcher started or was asked to announce itself: all that it knows.

    Replaces everything known of this dispatcher. `adrift` are leases without a worker.
    """

    dispatcher: str
    partitions: tuple[int, ...]
    workers: tuple[WorkerUp, ...]
    adrift: tuple[Hold, ...]


class LogChunk(_Message, frozen=True, kw_only=True, tag="log_chunk"):
    """Text of an attempt's log from byte `offset` on. A later offset than expected is a gap."""

    job_id: int
    attempt: int
    offset: int
    text: str


class CancelJob(_Message, frozen=True, kw_only=True, tag="cancel_job"):
    """Take this job out of every queue; stop it where it runs."""

    job_id: int
    attempt: int
    reason: str


class ReorderJob(_Message, frozen=True, kw_only=True, tag="reorder_job"):
    """A waiting job's place in the order changed."""

    job_id: int
    order: PriorityKey


class ClientChanged(_Message, frozen=True, kw_only=True, tag="client_changed"):
    """A client's limits changed; they hold for its waiting jobs too.

    `secret_hash` only of a client that may connect workers (`role`): dispatchers elsewhere let
    them in by it. None: it may not, or no longer.
    """

    client: str
    priority: int
    max_running: int | None
    role: Role | None = None
    secret_hash: str | None = None


class SplitChanged(_Message, frozen=True, kw_only=True, tag="split_changed"):
    """This share of the partitions is for slow jobs from now on; None: it follows the mix."""

    slow_share: float | None


class DrainWorker(_Message, frozen=True, kw_only=True, tag="drain_worker"):
    """Give this worker no new jobs; it leaves when the running ones have ended."""

    worker: str


class Deadline(_Message, frozen=True, kw_only=True, tag="deadline"):
    """A run must have ended by then."""

    run_id: int
    at_ms: int


class Announce(_Message, frozen=True, kw_only=True, tag="announce"):
    """Somebody starts and knows nothing yet: tell what there is.

    Dispatchers answer with `DispatcherUp`; to a balancer or a dispatcher the state's owner tells
    all clients and the split, and to a balancer or the API the statistics tell `Learned`.
    """

    by: Service


class Learned(_Message, frozen=True, kw_only=True, tag="learned"):
    """Durations of earlier runs, in seconds, oldest first, by pipeline and job."""

    durations: tuple[tuple[str, str, tuple[float, ...]], ...]


class Loads(_Message, frozen=True, kw_only=True, tag="loads"):
    """Every partition's load, and the rules in force; said when they have changed.

    Dispatchers divide their workers' slots by the classes that are told here.
    """

    loads: tuple[LoadOfPartition, ...]
    rules: Rules


class AskWhy(_Message, frozen=True, kw_only=True, tag="ask_why"):
    """Why does this job wait? The balancer answers with `ToldWhy`."""

    job_id: int


class ToldWhy(_Message, frozen=True, kw_only=True, tag="told_why"):
    """Why a job waits; None: it does not wait at the balancer."""

    job_id: int
    waits: Waits | None


class AskQueues(_Message, frozen=True, kw_only=True, tag="ask_queues"):
    """What waits at the balancer, in groups? `client`: of this one only; None: of all.

    The balancer answers with `ToldQueues`.
    """

    limit: int
    client: str | None


class ToldQueues(_Message, frozen=True, kw_only=True, tag="told_queues"):
    """What waits at the balancer, in `limit` groups at most."""

    limit: int
    client: str | None
    queues: Queues


class DeadLetter(_Message, frozen=True, kw_only=True, tag="dead_letter"):
    """A record that nobody could read, and where it was found. `value`: its text, cut off.

    What is no text stands there in base64, and `encoding` says so.
    """

    topic: str
    partition: int
    offset: int
    key: str | None
    value: str
    encoding: str
    error: str
    at_ms: int


Message = (
    JobReady
    | Placed
    | Started
    | Unstarted
    | Progressed
    | Finished
    | Skipped
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
)

ENCODER: Final = msgspec.json.Encoder()
DECODER: Final = msgspec.json.Decoder(Message)
BATCH_DECODER: Final = msgspec.json.Decoder(list[Message])
