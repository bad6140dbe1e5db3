"""Owns sending notices: what a run's end asks for becomes a run that sends it.

Which notices are to be sent is stored in the transaction of the run's end, so none is lost by a
crash; it is taken away in the one that starts the notice's run, so none is sent twice.
"""

from contextlib import aclosing
from functools import partial
from typing import NamedTuple

import msgspec
import structlog
import trio

from control.core import notice_runs
from control.core.divide import ended_state
from control.core.notice import FailedJob, Notice
from control.model import limits
from control.model.clock import Clock
from control.model.errors import Conflict, QueueFull, StoreFailed
from control.model.names import Change
from control.model.pipelines import NotifySpec
from control.model.rows import NewRun, RunRow
from control.model.states import FINAL, Trigger
from control.model.this import Subject, this_of
from control.model.values import Json
from control.services.job_logs import JobLogs
from control.transactions.ledger import Ledger, check_starts
from store import catalog, clients, notices, runs
from store.notices import Pending
from store.writer import Tx, Writer

LOG = structlog.get_logger("notifier")
_FIRST = Pending(0, 0)


class _Subject(NamedTuple):
    """A run to be notified of."""

    run: RunRow
    spec: NotifySpec
    first: FailedJob | None
    data: dict[str, Json]
    log_bytes: int  # Of the first failed job's log.


class Notifier:
    """Starts the runs of notices."""

    def __init__(self, writer: Writer, ledger: Ledger, logs: JobLogs, clock: Clock) -> None:
        self._writer = writer
        self._ledger = ledger
        self._logs = logs
        self._clock = clock

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        task_status.started()
        while True:
            changed = self._writer.changed(Change.NOTICES)
            waits_s = float("inf") if await self.run_once() else limits.NOTICE_AGAIN_S
            with trio.move_on_after(waits_s):
                await changed.wait()

    async def run_once(self) -> bool:
        """Send what is to be sent. False: some had to wait, as the queue was full."""
        last, all_sent = _FIRST, True
        while True:
            look = partial(notices.after, last=last, limit=limits.NOTICE_PORTION)
            found = await self._writer.insist(lambda tx, look=look: look(tx.conn))  # type: ignore[misc]
            if not found:
                return all_sent
            for pending in found:
                all_sent = await self._send(pending) and all_sent
            last = found[-1]

    async def _send(self, pending: Pending) -> bool:
        subject = await self._writer.insist(partial(self._subject, pending=pending))
        if subject is None:
            return True
        first = subject.first
        if first is not None:
            first = first._replace(log=await self._log(first, subject.log_bytes))
        ended = notice_runs.ended_run(subject.run, first)
        found = notice_runs.message(subject.spec, ended, subject.data)
        start = partial(self._start, pending=pending, subject=subject, found=found)
        try:
            await self._writer.insist(start)
        except QueueFull as error:
            LOG.warning("notice.waits", run=pending.run_id, reason=str(error))
            return False
        return True

    def _subject(self, tx: Tx, *, pending: Pending) -> _Subject | None:
        """What the notice is about; None: the run was retried meanwhile."""
        now_ms = self._clock.wall_ms()
        step = self._ledger.load(tx, [pending.run_id], now_ms=now_ms)[pending.run_id]
        run, pipeline = step.run, step.graph.pipeline
        if run.state not in FINAL or pending.entry >= len(pipeline.notify):
            notices.delete(tx.conn, pending)
            return None
        outputs = runs.outputs(tx.conn, [job.id for job in run.jobs])
        jobs = list(zip(pipeline.jobs, run.jobs, strict=True))
        subject = Subject(
            pipeline=run.pipeline,
            trigger=run.trigger,
            created_ms=run.created_ms,
            revision=step.graph.revision,
            scheduled_ms=run.scheduled_for_ms,
        )
        this = this_of(
            run_id=run.id, job_id=0, attempt=0, job="", client=run.client, subject=subject
        )
        data: dict[str, Json] = {
            "run": msgspec.json.decode(runs.inputs(tx.conn, [run.id]).get(run.id, b"null")),
            "jobs": {
                spec.name: msgspec.json.decode(outputs.get(job.id, b"null")) for spec, job in jobs
            },
            "states": {spec.name: msgspec.to_builtins(ended_state(job)) for spec, job in jobs},
            "this": msgspec.to_builtins(this),
        }
        first = notice_runs.first_failed(run, pipeline)
        log_bytes = 0 if first is None else step.job(first.job_id).log_bytes
        return _Subject(run, pipeline.notify[pending.entry], first, data, log_bytes)

    async def _log(self, job: FailedJob, log_bytes: int) -> bytes:
        """The end of a failed job's log, as far as it comes in time."""

        async def known() -> int:
            await trio.lowlevel.checkpoint()
            return log_bytes

        end = b""
        try:
            with trio.move_on_after(limits.NOTICE_LOG_S):
                pieces = self._logs.follow(job.job_id, job.attempt, known)
                async with aclosing(pieces):
                    async for piece in pieces:
                        end = (end + piece)[-limits.NOTICE_LOG_BYTES :]
        except StoreFailed as error:
            LOG.warning("notice.without_log", job=job.job_id, reason=str(error))
        return end

    def _start(self, tx: Tx, *, pending: Pending, subject: _Subject, found: Notice) -> None:
        """Inside the transaction; raises `QueueFull`, and nothing has changed."""
        run, now_ms = subject.run, self._clock.wall_ms()
        try:
            check_starts(tx, run.client)
        except Conflict as error:
            LOG.warning("notice.not_sent", run=run.id, reason=str(error))
            notices.delete(tx.conn, pending)
            return
        pipeline = notice_runs.notice_pipeline(run.pipeline, subject.spec)
        priority, max_running = clients.limits_of(tx.conn, run.client)
        new = NewRun(
            revision_id=catalog.unnamed(tx.conn, pipeline, run.client, now_ms=now_ms),
            client=run.client,
            client_priority=priority,
            max_running=max_running,
            trigger=Trigger.PIPELINE,
            created_ms=now_ms,
            priority=run.priority,
            input=notice_runs.notice_input(found, run.id),
        )
        self._ledger.submit(tx, [new])
        notices.delete(tx.conn, pending)
