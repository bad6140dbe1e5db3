"""Decides what executes now: slots take assigned attempts in order and bring each to its end.

A slot is one task that executes attempts one after another. Attempts that never wait (a no-op)
are worked off in one go: no task, cancel scope, or trip through the event loop for each.
"""

import math
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec
import structlog
import trio
from msgspec import UNSET

from control.model import limits, outputs
from control.model.errors import JobFailed
from control.model.kinds import Job, Launcher, Result
from control.model.states import Outcome
from control.model.this import Subject
from control.model.worker.wire import Assign, Ended, Lease
from workers.directories import remove_directory
from workers.job_params import AnyKind, WorkReader
from workers.logs import AttemptLog
from workers.protocol import WorkerProtocol
from workers.trouble import WorkerTrouble, starting
from workers.wakeup import Doorbell

_log = structlog.get_logger()
_NOTHING: Final = Result()
_UNKNOWN: Final = Subject()


class _Slot:
    """One job at a time."""

    __slots__ = ("assign", "began", "log", "scope", "spent", "started_ms", "stopped")

    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self.spent = False  # The scope was cancelled, so it cannot serve another attempt.
        self.stopped: str | None = None  # Why it was ordered to stop.
        self.assign: Assign | None = None
        self.log: AttemptLog | None = None
        self.began = 0.0
        self.started_ms = 0


class _Reporter:
    """What a kind may report of the attempt that it executes."""

    __slots__ = ("_bell", "_log", "_protocol")

    def __init__(self, log: AttemptLog, protocol: WorkerProtocol, bell: Doorbell) -> None:
        self._log = log
        self._protocol = protocol
        self._bell = bell

    async def log(self, text: str) -> None:
        await self._log.write(text)

    async def progress(self, fraction: float) -> None:
        self._protocol.progress(self._log.lease, fraction)
        self._bell.ring()


class Executor:
    """Executes what the protocol holds, on a fixed number of slots."""

    def __init__(
        self,
        *,
        slots: int,
        kinds: Mapping[tuple[str, str], AnyKind],
        protocol: WorkerProtocol,
        bell: Doorbell,
        directory: Path,
        launcher: Launcher | None = None,
        now_ms: Callable[[], int],
    ) -> None:
        self._slots = [_Slot() for _ in range(slots)]
        self._kinds = {key: (kind, WorkReader(kind)) for key, kind in kinds.items()}
        self._protocol = protocol
        self._bell = bell
        self._directory = directory
        self._launcher = launcher
        self._now_ms = now_ms
        self._resting = trio.lowlevel.ParkingLot()
        self._waking = False  # A slot was woken and has not looked at the queue yet.
        self._begun = 0
        self._begun_at_pulse = 0
        self._fell_sick = trio.Event()
        self._sick_s = limits.SICK_MIN_S  # For how long, the next time.

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Execute until cancelled; running attempts are then stopped and not reported."""
        try:
            for kind, _ in self._kinds.values():
                await self._begin(kind)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._recover)
                for slot in self._slots:
                    nursery.start_soon(self._serve, slot)
                task_status.started()
        finally:
            for kind, _ in self._kinds.values():
                with trio.move_on_after(limits.SHELL_KILL_S, shield=True):
                    await kind.aclose()

    def wake(self) -> None:
        """Let a resting slot look at the queue; it wakes the next one if there is more."""
        if not self._waking and self._protocol.waiting and self._resting:
            self._waking = True
            self._resting.unpark()

    def stop(self, lease: Lease, reason: str) -> None:
        """Stop a running attempt."""
        for slot in self._slots:
            if slot.assign is not None and slot.assign.lease == lease:
                slot.stopped = reason
                slot.spent = True
                slot.scope.cancel()

    def pulse(self) -> bool:
        """Return whether the job loop moved since the last call, or had no reason to."""
        stuck = self._protocol.waiting and self._resting and self._begun == self._begun_at_pulse
        self._begun_at_pulse = self._begun
        return not stuck

    async def _begin(self, kind: AnyKind) -> None:
        try:
            await kind.begin(self._directory.parent)
        except Exception:  # noqa: BLE001 - A plugin's; the others do not depend on it.
            _log.exception("kind.leftovers_stay", kind=kind.name, version=kind.version)

    async def _serve(self, slot: _Slot) -> None:
        while True:
            slot.spent = False
            broke = None
            try:
                with trio.CancelScope() as slot.scope:
                    await self._take_attempts(slot)
            except Exception as bug:  # noqa: BLE001 - A kind's bug costs its attempt, no more.
                broke = f"unexpected error while it was stopped: {_describe(bug)}"
                _log.error("attempt.cleanup_failed", exc_info=bug)
            if slot.assign is not None:
                self._end_stopped(slot, slot.assign, broke)

    async def _take_attempts(self, slot: _Slot) -> None:
        burst_ends = 0.0
        while not slot.spent:
            assign = self._protocol.begin(self._now_ms())
            if assign is None:
                await self._resting.park()
                self._waking = False
                burst_ends = trio.current_time() + limits.SLOT_BURST_S
                continue
            self._begun += 1
            self._bell.ring()
            self.wake()
            await self._attempt(slot, assign)
            if trio.current_time() > burst_ends:
                await trio.lowlevel.checkpoint()
                burst_ends = trio.current_time() + limits.SLOT_BURST_S

    async def _attempt(self, slot: _Slot, assign: Assign) -> None:
        """Execute one attempt to its end, unless the slot's scope is cancelled meanwhile."""
        log = AttemptLog(assign.lease, self._protocol.logs)
        slot.assign, slot.log, slot.stopped = assign, log, None
        slot.started_ms, slot.began = self._now_ms(), trio.current_time()
        if assign.timeout is not None:
            slot.scope.deadline = slot.began + assign.timeout
        result, error, final = _NOTHING, None, False
        try:
            result = await self._execute(assign, log)
        except WorkerTrouble as trouble:
            self._give_back(slot, assign, str(trouble))
            return
        except JobFailed as failure:
            result = Result(exit_code=failure.exit_code, details=failure.details)
            error, final = str(failure), failure.final
        except Exception as bug:  # noqa: BLE001 - A kind's bug costs its attempt, no more.
            error = f"unexpected error in kind {assign.kind}: {_describe(bug)}"
            _log.error("attempt.kind_broke", kind=assign.kind, job_id=assign.lease.job_id)
            await log.write("".join(traceback.format_exception(bug)))
        if assign.timeout is not None:
            slot.spent = slot.spent or slot.scope.cancel_called
            slot.scope.deadline = math.inf
        outcome = Outcome.DONE if error is None else Outcome.FAILED
        self._end(slot, outcome, result, error, final=final)

    async def _execute(self, assign: Assign, log: AttemptLog) -> Result:
        entry = self._kinds.get((assign.kind, assign.version))
        if entry is None:
            msg = f"this worker has no kind {assign.kind} {assign.version}"
            raise JobFailed(msg)
        kind, reader = entry
        lease = assign.lease
        directory = self._directory
        if kind.wants_directory:
            directory /= f"{lease.job_id}-{lease.attempt}-{lease.epoch}"
        job = Job(
            run_id=assign.run_id,
            job_id=lease.job_id,
            attempt=lease.attempt,
            name=assign.name,
            input=assign.input,
            env={},
            directory=directory,
            client=assign.client,
            launcher=self._launcher,
            subject=assign.subject or _UNKNOWN,
        )
        try:
            work = reader.read(bytes(assign.work), lambda: job.document)
        except JobFailed as failure:  # The next attempt has the same params and the same input.
            raise JobFailed(str(failure), final=True) from failure
        if work.env:
            job = msgspec.structs.replace(job, env=work.env)
        report = _Reporter(log, self._protocol, self._bell)
        if not kind.wants_directory:
            return _checked(await kind.run(job, work.params, report))
        with starting("the attempt's directory"):
            directory.mkdir(mode=0o700)
        try:
            return _checked(await kind.run(job, work.params, report))
        finally:
            await remove_directory(directory)

    def _give_back(self, slot: _Slot, assign: Assign, trouble: str) -> None:
        """The worker is to blame: another gets the attempt, and this one pauses for a while."""
        slot.spent = True  # Its deadline may be set.
        slot.assign = slot.log = None
        if not self._protocol.sick:
            _log.error("worker.sick", reason=trouble, pause_s=self._sick_s)
            self._protocol.fall_sick(trouble)
            self._fell_sick.set()
        self._protocol.give_back(assign.lease)
        self._bell.ring()

    async def _recover(self) -> None:
        while True:
            await self._fell_sick.wait()
            self._fell_sick = trio.Event()
            await trio.sleep(self._sick_s)
            self._sick_s = min(2 * self._sick_s, limits.SICK_MAX_S)
            self._protocol.recover()
            self._bell.ring()

    def _end_stopped(self, slot: _Slot, assign: Assign, broke: str | None) -> None:
        """End an attempt whose scope was cancelled: by an order, or else by its time-out."""
        if slot.stopped is not None:
            self._end(slot, Outcome.CANCELLED, _NOTHING, slot.stopped)
        elif assign.timeout is not None and slot.scope.cancel_called:
            error = f"timed out after {assign.timeout:g} s"
            self._end(slot, Outcome.TIMED_OUT, _NOTHING, error)
        else:
            self._end(slot, Outcome.FAILED, _NOTHING, broke)

    def _end(
        self,
        slot: _Slot,
        outcome: Outcome,
        result: Result,
        error: str | None,
        *,
        final: bool = False,
    ) -> None:
        assert slot.assign is not None
        assert slot.log is not None
        slot.log.finish()
        ended = Ended(
            lease=slot.assign.lease,
            outcome=outcome,
            started_ms=slot.started_ms,
            finished_ms=self._now_ms(),
            duration=max(0.0, trio.current_time() - slot.began),
            exit_code=result.exit_code,
            error=None if error is None else _cut(error),
            log_bytes=slot.log.size,
            output=result.output,
            final=True if final else UNSET,
            details=UNSET if result.details is None else result.details,
        )
        if outcome is Outcome.DONE and not self._protocol.sick:
            self._sick_s = limits.SICK_MIN_S
        slot.assign = slot.log = None
        self._protocol.end(ended)
        self._bell.ring()


def _checked(result: Result) -> Result:
    """Refuse what is over its limit; one line each, because the spool has one per result."""
    output, details = _line_of(result.output, result), result.details
    if details is not None:
        details = _line_of(details, result, "details: ")
    if output is result.output and details is result.details:
        return result
    return msgspec.structs.replace(result, output=output, details=details)


def _line_of(text: msgspec.Raw, result: Result, what: str = "") -> msgspec.Raw:
    """The JSON as one line; raises JobFailed when it is over its limit, or none."""
    data = bytes(text)
    if data == b"null":
        return text
    wrong = outputs.problem(data) or outputs.syntax_problem(data)
    if wrong is not None:
        raise JobFailed(f"{what}{wrong}", exit_code=result.exit_code)
    if b"\n" not in data and b"\r" not in data:
        return text
    # JSON has line breaks only between its tokens; inside strings they are escaped.
    return msgspec.Raw(data.replace(b"\n", b" ").replace(b"\r", b" "))


def _cut(text: str) -> str:
    text = text.encode(errors="replace").decode()
    if len(text) <= limits.TEXT_CHARS_MAX:
        return text
    return text[: limits.TEXT_CHARS_MAX - 1] + "…"


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
