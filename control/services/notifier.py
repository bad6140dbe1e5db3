"""Owns sending notices: what a run's end asks for becomes a run that sends it.

Which notices are to be sent is stored in the transaction of the run's end, so none is lost by a
crash; it is taken away in the one that starts the notice's run, so none is sent twice.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping
from contextlib import aclosing
from functools import partial
from typing import NamedTuple, Protocol

import msgspec
import structlog
import trio

from control.core.runs import notice_runs
from control.core.runs.advance import Advance
from control.core.runs.expand import ended_state
from control.core.runs.identity import subject_of
from control.core.runs.notice_text import FailedJob, Notice
from control.model import limits
from control.model.clock import Clock
from control.model.errors import Conflict, JobFailed, QueueFull, StoreFailed
from control.model.json_values import Json
from control.model.names import Change
from control.model.pipelines import NotifySpec
from control.model.state_rows import NewRun, RunRow
from control.model.states import Trigger
from control.model.this import this_of
from control.transactions.descendants import input_of, outputs_of
from control.transactions.run_transactions import Ledger, check_starts
from store import catalog, clients, notices
from store.database.writer import Tx, Writer
from store.notices import Pending

LOG = structlog.get_logger("notifier")
_FIRST = Pending(0, 0, 0)


class StoredLogs(Protocol):
    """What is stored of jobs' logs."""

    def follow(
        self, job_id: int, attempt: int, log_bytes: Callable[[], Awaitable[int | None]]
    ) -> AsyncGenerator[bytes, None]:
        """A log, until all of it has come; raises `StoreFailed`."""


class _Subject(NamedTuple):
    """A run to be notified of."""

    run: RunRow
    spec: NotifySpec
    first: FailedJob | None
    data: Mapping[str, Json]  # What its own text may name.
    problem: str | None  # Why its own text cannot be made.
    log_bytes: int  # Of the first failed job's log.


class Notifier:
    """Starts the runs of notices."""

    def __init__(self, writer: Writer, ledger: Ledger, logs: StoredLogs, clock: Clock) -> None:
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
        """Send what is to be sent. False: some had to wait, as a queue was full."""
        last, full = _FIRST, set[str]()
        while pending := await self._next(last, full):
            async with trio.open_nursery() as nursery:
                for each in pending:
                    nursery.start_soon(self._send, each, full)
            last = pending[-1]
        return not full

    async def _next(self, last: Pending, full: Collection[str]) -> list[Pending]:
        """Some of those after that, but for clients whose queue is full."""
        return await self._writer.insist(
            lambda tx: notices.after(tx.conn, last, full, limits.NOTICE_PORTION)
        )

    async def _send(self, pending: Pending, full: set[str]) -> None:
        """Send one; add its client to the `full` ones if its queue is."""
        subject = await self._writer.insist(partial(self._subject, pending=pending))
        if subject is None:
            return
        first = subject.first
        if first is not None:
            first = first._replace(log=await self._log(first, subject.log_bytes))
        ended = notice_runs.ended_run(subject.run, first)
        notice = notice_runs.message(subject.spec, ended, subject.data, subject.problem)
        start = partial(self._start, pending=pending, subject=subject, notice=notice)
        try:
            await self._writer.insist(start)
        except QueueFull as error:
            LOG.warning("notice.waits", run=pending.run_id, reason=str(error))
            full.add(subject.run.client)

    def _subject(self, tx: Tx, *, pending: Pending) -> _Subject | None:
        """What the notice is about; None: nothing is sent (now)."""
        loaded = self._ledger.load(tx, [pending.run_id], now_ms=self._clock.wall_ms())
        step = loaded.get(pending.run_id)
        if step is None:
            return None  # It was deleted, and its notices with it.
        run, pipeline = step.run, step.graph.pipeline
        if run.finished_ms != pending.ended_ms:  # It was retried: it has, or will have, another.
            notices.delete(tx.conn, pending)
            return None
        spec = pipeline.notify[pending.entry]
        data: Mapping[str, Json] = {}
        problem = None
        if spec.title is not None or spec.body is not None:
            try:
                data = _names(tx, step)
            except JobFailed as error:
                problem = str(error)
        first = notice_runs.first_failed(run, pipeline)
        log_bytes = 0 if first is None else step.job(first.job_id).log_bytes
        return _Subject(run, spec, first, data, problem, log_bytes)

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

    def _start(self, tx: Tx, *, pending: Pending, subject: _Subject, notice: Notice) -> None:
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
            input=notice_runs.notice_input(notice, run.id),
        )
        self._ledger.submit(tx, [new])
        notices.delete(tx.conn, pending)


def _names(tx: Tx, step: Advance) -> Mapping[str, Json]:
    """What templates of a notice may name; raises `JobFailed` when that is too much, or none."""
    run, specs = step.run, step.graph.pipeline.jobs
    outputs = outputs_of(tx, step, limits.JOB_INPUT_BYTES_MAX)
    subject = subject_of(run, step.graph)
    this = this_of(run_id=run.id, job_id=0, attempt=0, job="", client=run.client, subject=subject)
    try:
        run_input = msgspec.json.decode(input_of(tx, run.id))
        decoded = {name: msgspec.json.decode(output) for name, output in outputs.items()}
    except msgspec.DecodeError as error:
        raise JobFailed(f"an output cannot be read: {error}") from error
    return {
        "run": run_input,
        "jobs": decoded,
        "states": {
            spec.name: msgspec.to_builtins(ended_state(job))
            for spec, job in zip(specs, run.jobs, strict=True)
        },
        "this": msgspec.to_builtins(this),
    }
