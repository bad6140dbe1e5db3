"""Decides which life of its data a process starts in, and what of a lost life must go."""

from collections.abc import Callable, Iterable, Sequence

import structlog

from control.core.epochs import is_restored, last_id_before, next_epoch, number_in_backup
from control.model.api.views import CheckView
from control.model.bus.child_messages import ChildEnded
from control.model.bus.messages import Finished, JobReady, Message, Placed, Skipped
from control.model.life import DatabasePosition, Life, Lost
from control.model.names import Group, Topic
from control.model.times import to_rfc3339
from store import epoch
from store.database.connection import Connection, failures
from store.epoch import Witness
from store.log_files import LogFiles

LOG = structlog.get_logger("lives")


def enter_life(
    conn: Connection,
    witness: Witness,
    files: LogFiles,
    *,
    now_ms: int,
    jobs_to_publish: bool,
    unread: Callable[[Topic, Group], Iterable[Message]],
) -> Life:
    """Find out which life of the data this is; another one begins where they were restored.

    `jobs_to_publish`: as for `epoch.begin`. `unread`: what the restored log still has for a
    group. Raises `StoreFailed`.
    """
    with failures("it cannot be noted how far the data are"):
        stored, witnessed = epoch.position(conn), witness.read()
        if is_restored(stored, witnessed):
            # Before it begins, so that a crash in between leaves nothing undone.
            files.forget_attempts(_attempts_to_come(conn, unread))
            number = next_epoch(stored, witnessed, epoch.last_id(conn), now_ms)
            # First: a crash in between begins one more life, from the same backup.
            witness.write(DatabasePosition(number, stored.commits + 1))
            epoch.begin(
                conn,
                number,
                last_id=last_id_before(number),
                now_ms=now_ms,
                jobs_to_publish=jobs_to_publish,
            )
            last_run = epoch.life(conn).last_run_id
            LOG.warning("data.restored", epoch=number, last_run=last_run)
        witness.write(epoch.position(conn))
        witness.sync()
    return epoch.life(conn)


def _attempts_to_come(
    conn: Connection, unread: Callable[[Topic, Group], Iterable[Message]]
) -> dict[int, int]:
    """The next attempt of each open job, by job id."""
    found = epoch.open_jobs(conn)
    ended = _attempts(conn, unread(Topic.TASK_RUN_RESULTS, Group.TRIGGER))
    begun = [*found.running, *(each for each in found.waiting if each in ended)]
    return dict(found.waiting) | {job: attempt + 1 for job, attempt in begun}


def lost_since(
    conn: Connection,
    life: Life,
    unread: Callable[[Topic, Group], Iterable[Message]],
    retries: Sequence[tuple[int, int]],
    *,
    from_start: bool,
) -> Lost:
    """Which facts a restored state must not have. `unread`: what its bus delivers again to a group.

    `retries`: attempts of which there are facts, but for the first ones of jobs. `from_start`:
    whether the offsets of its bus have restarted.
    """
    found = epoch.open_jobs(conn)
    results = list(unread(Topic.TASK_RUN_RESULTS, Group.STATISTICS))
    skips = _attempts(conn, [each for each in results if isinstance(each, Skipped)])
    ended = _attempts(conn, [each for each in results if isinstance(each, Finished | ChildEnded)])
    known = _attempts(conn, unread(Topic.TASK_RUN_RESULTS, Group.TRIGGER))
    under_way = _attempts(conn, unread(Topic.TASK_RUNS, Group.BALANCER))
    under_way |= _attempts(conn, unread(Topic.TASK_RUNS_LOAD_BALANCED, Group.DISPATCHER))
    open_jobs = [*found.waiting, *found.running]
    known_attempts = epoch.attempts(conn, [job for job, _ in open_jobs])
    return Lost(
        last_job_id=life.last_job_id,
        last_id=last_id_before(life.epoch),
        open_jobs=[
            (job, number_in_backup(life.epoch, attempt, max(known_attempts[job].over, default=0)))
            for job, attempt in open_jobs
        ],
        counted=sorted(known - skips - ended),
        # The end of a job that was cancelled while it ran is published after its worker's.
        skipped_again=sorted(skips.union(epoch.begun(conn, sorted(under_way | known)))),
        ended_again=sorted(under_way | ended),
        beyond=epoch.beyond(conn, retries),
        from_start=from_start,
    )


def _attempts(conn: Connection, messages: Iterable[Message]) -> set[tuple[int, int]]:
    """Which attempts at jobs of these data the messages are about.

    What names a job with another run, pipeline, or client is foreign.
    """
    found: set[tuple[int, int, int, str, str]] = set()
    for message in messages:
        job = message.job if isinstance(message, Placed) else message
        if isinstance(job, Finished | Skipped | ChildEnded | JobReady):
            found.add((job.run_id, job.job_id, job.attempt, job.pipeline, job.client))
    return set(epoch.of_runs(conn, sorted(found)))


def restored_check(life: Life) -> CheckView | None:
    """What `tpctl doctor` says of data that were restored; None: they never were."""
    if life.began_ms is None:
        return None
    detail = (
        f"restored at {to_rfc3339(life.began_ms)} from a backup whose last run was "
        f"{life.last_run_id}: runs that were submitted after it are not known; new runs have ids "
        f"from {last_id_before(life.epoch) + 1:,} on, and late results of before are refused"
    )
    return CheckView(check="restored data", ok=True, detail=detail)
