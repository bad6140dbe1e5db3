"""Decides the worker's half of the protocol: what is held, what is sent, what a frame changes.

The owner of the socket passes messages to `receive` and sends what `take` returns; a job loop calls
`begin` and `end`. `unkept` results go to disk before `take` returns them, until acknowledged.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from control.model import limits
from control.model.errors import ProtocolError
from control.model.states import Outcome
from control.model.worker import wire
from control.model.worker.isolation import Isolation
from control.model.worker.wire import (
    Ack,
    Assign,
    Beat,
    Began,
    Cancel,
    Drain,
    Ended,
    HandedBack,
    Hello,
    Lease,
    Leaving,
    Progress,
    Refused,
    Sick,
    TakeBack,
    Welcome,
)
from workers.logs import LogBuffer
from workers.parts import part_of
from workers.protocol_events import Assigned, Forgotten, Phase, ProtocolEvent, Stop

# Shares of limits.FRAME_MESSAGES_MAX that one message may use.
_OTHER_MAX: Final = 50
_BEGAN_MAX: Final = 500
_PROGRESS_MAX: Final = 50
_LOGS_MAX: Final = 400
_RESULTS_MAX: Final = 1_000


class WorkerIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """What every `hello` of this worker says."""

    worker: str
    host: str
    slots: int
    labels: tuple[str, ...]
    kinds: Mapping[str, tuple[str, ...]]
    isolation: Isolation | None = None
    instance: str = ""  # Random hexadecimal digits: of this process, over all its connections.


class WorkerProtocol:
    """The state of one worker towards its gateway, over all its connections."""

    def __init__(
        self,
        identity: WorkerIdentity,
        logs: LogBuffer,
        results: Mapping[Lease, bytes] | None = None,
    ) -> None:
        self.logs = logs
        self.phase = Phase.DISCONNECTED
        self.draining = False
        self.sick = ""  # Why attempts cannot be started.
        self._identity = identity
        self._queued: OrderedDict[Lease, Assign] = OrderedDict()
        self._running: dict[Lease, int] = {}  # Value: when it began.
        # How many attempts of a job execute: also those that were dropped and have not ended yet.
        self._executing: dict[int, int] = {}
        self._untold: dict[Lease, int] = {}  # Running, but this gateway does not know it yet.
        self._unkept: list[tuple[Lease, bytes]] = []
        self._results: dict[Lease, bytes] = dict(results or {})  # Not acknowledged.
        self._to_send: deque[Lease] = deque()  # Of the results, on this connection.
        # How much of which large results this gateway has, or was sent; None: it takes no parts.
        self._parted: dict[Lease, int] | None = None
        self._message_bytes = limits.FIRST_MESSAGE_BYTES
        self._progress: dict[Lease, float] = {}
        self._other: list[bytes] = []
        self._queue_max = identity.slots + limits.PREFETCH_JOBS_MAX

    @property
    def waiting(self) -> bool:
        """Whether an assigned attempt may begin."""
        return self._next() is not None

    @property
    def idle(self) -> bool:
        """Nothing runs and nothing waits."""
        return not self._running and not self._queued

    @property
    def finished(self) -> bool:
        """Idle, everything was sent, and the gateway has acknowledged every result."""
        return self.idle and not (self._results or self.logs or self._other)

    # The job loop's side.

    def begin(self, now_ms: int) -> Assign | None:
        """Take the next attempt to execute, if one waits.

        An attempt never executes beside an earlier one of its job, which may take a while to stop.
        """
        lease = self._next()
        if lease is None:
            return None
        assign = self._queued.pop(lease)
        self._running[lease] = self._untold[lease] = now_ms
        self._executing[lease.job_id] = self._executing.get(lease.job_id, 0) + 1
        return assign

    def _next(self) -> Lease | None:
        executing = self._executing
        return next((lease for lease in self._queued if lease.job_id not in executing), None)

    def progress(self, lease: Lease, fraction: float) -> None:
        """Note how much of a running attempt is done; only the newest is sent."""
        if lease in self._running:
            self._progress[lease] = min(1.0, max(0.0, fraction))

    def end(self, ended: Ended) -> None:
        """Note how a running attempt ended; ignored when it was dropped meanwhile."""
        self._executed(ended.lease)
        if self._running.pop(ended.lease, None) is None:
            self.logs.forget(ended.lease)
            return
        self._progress.pop(ended.lease, None)
        self._finish(ended)

    def give_back(self, lease: Lease) -> None:
        """Hand a running attempt back: nothing of it has been done."""
        self._executed(lease)
        self._untold.pop(lease, None)
        self._progress.pop(lease, None)
        self.logs.forget(lease)
        if self._running.pop(lease, None) is not None:
            self._say(HandedBack(leases=(lease,)))

    def _executed(self, lease: Lease) -> None:
        left = self._executing.pop(lease.job_id, 1) - 1
        if left:
            self._executing[lease.job_id] = left

    def fall_sick(self, reason: str) -> None:
        """Say that attempts cannot be started; until `recover` all that have not begun go back."""
        self.sick = reason[: limits.TEXT_CHARS_MAX]
        self._say(Sick(reason=self.sick))
        self._hand_back(tuple(self._queued))

    def recover(self) -> None:
        """Take attempts again."""
        self.sick = ""
        self._say(Sick(reason=""))

    def drain(self) -> None:
        """Take nothing new, and give back what has not begun."""
        if self.draining:
            return
        self.draining = True
        self._hand_back(tuple(self._queued))
        self._say(Leaving())

    def unkept(self) -> list[tuple[Lease, bytes]]:
        """Hand out the results that are not on disk; once they are, `take` may give them out."""
        fresh, self._unkept = self._unkept, []
        if self.phase is Phase.OPEN:
            self._to_send.extend(lease for lease, _ in fresh)
        return fresh

    # The socket's side.

    def hello(self, now_ms: int) -> bytes:
        """Return the first message of a new connection."""
        self.phase = Phase.GREETING
        hello = Hello(
            version=wire.VERSION,
            worker=self._identity.worker,
            host=self._identity.host,
            slots=self._identity.slots,
            labels=self._identity.labels,
            kinds=dict(self._identity.kinds),
            # A result that was not acknowledged is held too, or its job would go to another worker.
            holding=(*self._running, *self._queued, *self._results),
            draining=self.draining,
            now_ms=now_ms,
            isolation=self._identity.isolation,
            instance=self._identity.instance,
            parts=True,
            subject=True,
        )
        return wire.ENCODER.encode([hello])

    def disconnected(self) -> None:
        """Note that the connection is gone; jobs go on."""
        self.phase = Phase.DISCONNECTED
        self.logs.take_back()
        self._to_send.clear()
        self._other.clear()

    def receive(self, message: bytes | str, now_ms: int) -> list[ProtocolEvent]:
        """Take in one message; raises ProtocolError, after which the socket must be closed."""
        try:
            frames = wire.TO_WORKER.decode(message)
        except (msgspec.DecodeError, UnicodeError) as error:
            msg = f"the gateway sent a malformed message: {error}"
            raise ProtocolError(msg) from error
        if len(frames) > limits.FRAME_MESSAGES_MAX:
            msg = f"the gateway sent {len(frames)} frames in one message"
            raise ProtocolError(msg)
        events: list[ProtocolEvent] = []
        assigned = False
        for frame in frames:
            if type(frame) is Assign and self.phase is Phase.OPEN:
                self._assigned(frame)
                assigned = True
            else:
                self._received(frame, events, now_ms)
        if assigned:
            events.append(Assigned())
        return events

    def confirmed(self) -> None:
        """The gateway has answered to what was sent: the link can carry longer messages."""
        self._message_bytes = limits.MESSAGE_BYTES

    @property
    def is_untried(self) -> bool:
        """Whether nothing on this connection is known to have arrived."""
        return self._message_bytes < limits.MESSAGE_BYTES

    def beat(self, now_ms: int) -> None:
        """Say that the job loop is alive."""
        self._say(Beat(now_ms=now_ms))

    def take(self) -> bytes | None:
        """Return the next message to send; None when there is nothing to say."""
        if self.phase is not Phase.OPEN:
            return None
        encode = wire.ENCODER.encode
        logs = [encode(log) for log in self.logs.take(_LOGS_MAX, self._message_bytes)]
        results = self._take_results()
        parts, self._other = self._other[:_OTHER_MAX], self._other[_OTHER_MAX:]
        for lease in list(self._untold)[:_BEGAN_MAX]:
            parts.append(encode(Began(lease=lease, started_ms=self._untold.pop(lease))))
        for lease in list(self._progress)[:_PROGRESS_MAX]:
            fraction = self._progress.pop(lease)
            parts.append(encode(Progress(lease=lease, progress=fraction)))
        parts += [*logs, *results]
        return b"[%b]" % b",".join(parts) if parts else None

    def _take_results(self) -> list[bytes]:
        results: list[bytes] = []
        behind_logs: list[Lease] = []
        size = 0
        parted: list[Lease] = []
        while self._to_send and len(results) < _RESULTS_MAX and size < self._message_bytes:
            lease = self._to_send.popleft()
            frame = self._results.get(lease)
            if frame is None:
                continue  # Dropped since.
            if self.logs and lease in self.logs:
                behind_logs.append(lease)
                continue
            if self._parted is not None and len(frame) > limits.PIECE_BYTES:
                if (begin := self._parted.get(lease, 0)) < len(frame):
                    part = part_of(lease, frame, begin, self._message_bytes // 2)
                    self._parted[lease] = begin + len(part.text.encode())
                    results.append(wire.ENCODER.encode(part))
                    size += len(results[-1])
                    parted.append(lease)
                continue
            self._untold.pop(lease, None)
            results.append(frame)
            size += len(frame)
        self._to_send.extendleft(reversed(behind_logs))
        self._to_send.extend(parted)  # Smaller ones need not wait for all of it.
        return results

    def _received(self, frame: wire.ToWorker, events: list[ProtocolEvent], now_ms: int) -> None:
        match frame:
            case Welcome() if self.phase is Phase.GREETING:
                self._welcomed(frame, events)
            case Refused() if self.phase is Phase.GREETING:
                self.phase = Phase.REFUSED
                events.append(frame)
            case Ack() if self.phase is Phase.OPEN:
                for lease in frame.leases:
                    self._results.pop(lease, None)
                    self.logs.arrived(lease)  # It was sent before the result.
                events.append(Forgotten(frame.leases))
            case Cancel() if self.phase is Phase.OPEN:
                self._cancelled(frame, events, now_ms)
            case TakeBack() if self.phase is Phase.OPEN:
                self._hand_back(tuple(at for at in frame.leases if at in self._queued))
            case Drain() if self.phase is Phase.OPEN:
                events.append(frame)
            case _:
                name = type(frame).__struct_config__.tag
                msg = f"the gateway sent `{name}` while {self.phase.name.lower()}"
                raise ProtocolError(msg)

    def _welcomed(self, frame: Welcome, events: list[ProtocolEvent]) -> None:
        if frame.version != wire.VERSION:
            msg = f"the gateway speaks version {frame.version}, this worker {wire.VERSION}"
            raise ProtocolError(msg)
        self.phase = Phase.OPEN
        self._message_bytes = limits.FIRST_MESSAGE_BYTES
        self._parted = None if frame.received is None else dict(frame.received)
        for lease in frame.drop:
            self._queued.pop(lease, None)
            self._results.pop(lease, None)
            if self._running.pop(lease, None) is not None:
                events.append(Stop(lease, "the gateway gave it to another worker"))
            self._progress.pop(lease, None)
            self.logs.forget(lease)
        if frame.drop:
            events.append(Forgotten(frame.drop))
        # This gateway may be another than before, and may have missed what the last one received.
        self._untold = dict(self._running)
        unkept = {lease for lease, _ in self._unkept}
        self._to_send = deque(lease for lease in self._results if lease not in unkept)
        if self.draining:
            self._say(Leaving())
        if self.sick:
            self._say(Sick(reason=self.sick))
        events.append(frame)

    def _assigned(self, frame: Assign) -> None:
        lease = frame.lease
        if lease in self._running or lease in self._queued:
            return  # Ordered twice; it is being stopped.
        if lease in self._results:
            self._to_send.append(lease)  # The gateway does not know that it is done.
            if self._parted is not None:
                self._parted.pop(lease, None)
        elif self.draining or self.sick or len(self._queued) >= self._queue_max:
            self._say(HandedBack(leases=(lease,)))
        else:
            self._queued[lease] = frame

    def _cancelled(self, frame: Cancel, events: list[ProtocolEvent], now_ms: int) -> None:
        if frame.lease in self._running:
            events.append(Stop(frame.lease, frame.reason))
        elif self._queued.pop(frame.lease, None) is not None:
            ended = Ended(
                lease=frame.lease,
                outcome=Outcome.CANCELLED,
                finished_ms=now_ms,
                duration=0.0,
                error=frame.reason[: limits.TEXT_CHARS_MAX],
            )
            self._finish(ended)

    def _finish(self, ended: Ended) -> None:
        frame = wire.ENCODER.encode(ended)
        self._results[ended.lease] = frame
        self._unkept.append((ended.lease, frame))

    def _hand_back(self, leases: Iterable[Lease]) -> None:
        for lease in (returned := tuple(leases)):
            del self._queued[lease]
        if returned:
            self._say(HandedBack(leases=returned))

    def _say(self, frame: wire.FromWorker) -> None:
        if self.phase is Phase.OPEN:
            self._other.append(wire.ENCODER.encode(frame))
