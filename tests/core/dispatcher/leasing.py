"""What the tests of leases share: jobs, workers, and what a dispatcher said."""

from control.core.dispatcher.effects import StepEffects
from control.core.dispatcher.leases import Leases
from control.core.fleet.partition_classes import partition_classes
from control.model import limits
from control.model.bus.messages import Finished, JobReady, Placed
from control.model.states import Outcome, Speed
from control.model.worker import wire
from control.model.worker.wire import Lease

CLASSES = partition_classes(4, 0.5)
LATER = round(limits.RESTART_GRACE_S * 1000) + 1


def place_of(offset: int, partition: int = 0) -> int:
    """A record's place on the bus."""
    return offset * limits.PARTITIONS_MAX + partition


def placed(
    job_id: int,
    worker: str,
    attempt: int = 1,
    partition: int = 0,
    *,
    owner: str = "",
    nonce: int = 0,
) -> Placed:
    job = JobReady(
        run_id=1,
        job_id=job_id,
        attempt=attempt,
        pipeline="p",
        name="j",
        stage="s",
        client="ann",
        kind="Sleep",
        version="1.0.0",
        order=(10, 10, 0, 10),
        created_ms=0,
        ready_ms=0,
        retries_left=0,
    )
    return Placed(
        job=job,
        partition=partition,
        worker=worker,
        speed=Speed.FAST,
        expected=0.01,
        owner=owner,
        nonce=nonce,
    )


def hello(
    worker: str, *holding: Lease, slots: int = 2, now_ms: int = 0, instance: str = ""
) -> wire.Hello:
    return wire.Hello(
        version=1,
        worker=worker,
        host="h",
        slots=slots,
        kinds={"Sleep": ("1.0.0",)},
        holding=holding,
        now_ms=now_ms,
        instance=instance,
    )


def ended(lease: Lease, outcome: Outcome = Outcome.DONE) -> wire.Ended:
    return wire.Ended(lease=lease, outcome=outcome, started_ms=1, finished_ms=2, duration=0.001)


def assigned(out: StepEffects, worker: str) -> list[Lease]:
    return [frame.lease for frame in out.frames[worker] if isinstance(frame, wire.Assign)]


def results(out: StepEffects) -> list[Finished]:
    return [r.message for r in out.records if isinstance(r.message, Finished)]


def connect(leases: Leases, worker: str, *holding: Lease, now_ms: int = 0) -> StepEffects:
    out = StepEffects()
    leases.connected(hello(worker, *holding, now_ms=now_ms), out, now_ms)
    return out


def place(leases: Leases, job_id: int, worker: str, offset: int, now_ms: int = 0) -> StepEffects:
    out = StepEffects()
    leases.place(placed(job_id, worker), place_of(offset), out, now_ms)
    return out
