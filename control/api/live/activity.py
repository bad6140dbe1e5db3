"""Owns what happened lately: the pulse of the last 15 minutes, notes, and partitions' rates.

It is gathered also while nobody listens, so each message may cost next to nothing.
"""

from collections import defaultdict, deque
from collections.abc import Callable
from typing import Final, Literal

from control.model import limits
from control.model.api.balancer import ClassChange
from control.model.api.live import Note, Pulse
from control.model.bus.messages import Finished, WorkerUp
from control.model.states import Outcome
from control.model.times import to_rfc3339

Kind = Literal["job_failed", "job_lost", "worker_joined", "worker_left", "class_changed"]
_RATE_PULSES: Final = 6  # A minute.
_SECOND_MS: Final = 1_000
_ENDED_BADLY: Final = {
    Outcome.FAILED: "it failed",
    Outcome.TIMED_OUT: "it took longer than its timeout",
    Outcome.LOST: "its worker was lost",
}


class Pulses:
    """What is counted in each ten seconds."""

    def __init__(self, now_ms: int) -> None:
        self.waiting = 0  # As far as known.
        self._begin_ms = _begin(now_ms)
        self._past: deque[Pulse] = deque(maxlen=limits.PULSES_KEPT - 1)
        self._ended = self._attempts = self._errors = self._retries = self._lost = 0
        self._placed_in: deque[defaultdict[int, int]] = deque(maxlen=_RATE_PULSES)
        self._ended_in: deque[defaultdict[int, int]] = deque(maxlen=_RATE_PULSES)
        self._count_anew()

    @property
    def end_ms(self) -> int:
        """When the one under way is over."""
        return self._begin_ms + limits.PULSE_MS

    def roll(self, now_ms: int, running: Callable[[], int]) -> None:
        """End the pulses that are over. `running`: how many jobs run."""
        begin_ms = _begin(now_ms)
        if abs(begin_ms - self._begin_ms) > limits.PULSES_KEPT * limits.PULSE_MS:
            self._past.clear()  # The clock was set, or the host slept.
            self._begin_ms = begin_ms - limits.PULSE_MS
        while self._begin_ms < begin_ms:
            self._past.append(self._now(running()))
            self._begin_ms += limits.PULSE_MS
            self._count_anew()

    def placed(self, partition: int) -> None:
        """A job came into a partition."""
        self._placed_in[-1][partition] += 1

    def finished(self, message: Finished) -> None:
        """An attempt ended."""
        self._ended_in[-1][message.partition] += 1
        self._ended += message.final
        self._attempts += 1
        if message.outcome in _ENDED_BADLY:
            lost = message.outcome == Outcome.LOST
            self._lost += lost
            self._errors += not lost
            self._retries += not lost and not message.final

    def skipped(self) -> None:
        """A job ended without an attempt."""
        self._ended += 1

    def per_minute(self, partition: int) -> tuple[float, float]:
        """How many jobs came into a partition, and ended in it, in the last minute."""
        placed = sum(counts.get(partition, 0) for counts in self._placed_in)
        ended = sum(counts.get(partition, 0) for counts in self._ended_in)
        return float(placed), float(ended)

    def all(self, running: int) -> list[Pulse]:
        """All of them, the one under way last."""
        return [*self._past, self._now(running)]

    def since(self, told: Pulse | None, running: int) -> list[Pulse]:
        """Those that are other than when this one was told last."""
        now = self._now(running)
        if now == told:
            return []
        if told is None:
            return [now]
        newest: list[Pulse] = []
        for pulse in reversed(self._past):
            if pulse.at < told.at:
                break
            newest.append(pulse)
        return [*reversed(newest), now]

    def _count_anew(self) -> None:
        self._ended = self._attempts = self._errors = self._retries = self._lost = 0
        self._placed_in.append(defaultdict(int))
        self._ended_in.append(defaultdict(int))

    def _now(self, running: int) -> Pulse:
        return Pulse(
            at=to_rfc3339(self._begin_ms),
            ended=self._ended,
            attempts=self._attempts,
            errors=self._errors,
            retries=self._retries,
            lost=self._lost,
            waiting=self.waiting,
            running=running,
        )


class Notes:
    """The last things an operator wants to hear of; of a flood only how many there were."""

    def __init__(self, now_ms: int) -> None:
        self._began_ms = now_ms  # What was before is no news.
        self._last: deque[Note] = deque(maxlen=limits.NOTES_KEPT)
        self.told = 0  # How many there have been.
        self._second = 0
        self._room = limits.NOTES_PER_SECOND_MAX
        self._left_out = 0
        self._left_out_kind: Kind = "job_failed"
        self._changes: tuple[ClassChange, ...] = ()

    def all(self) -> list[Note]:
        """Those that are kept, oldest first."""
        return list(self._last)

    def since(self, told: int) -> list[Note]:
        """Those that came after so many, the newest ones, oldest first."""
        count = min(self.told - told, limits.NOTES_IN_FRAME_MAX, len(self._last))
        return list(self._last)[len(self._last) - count :]

    def roll(self, now_ms: int) -> None:
        """When a second is over, say how many were left out in it."""
        second = now_ms // _SECOND_MS
        if second == self._second:
            return
        if self._left_out:
            text = f"{self._left_out} more in this second"
            at_ms = min((self._second + 1) * _SECOND_MS, now_ms)
            self._keep(Note(at=to_rfc3339(at_ms), kind=self._left_out_kind, text=text))
        self._second, self._left_out = second, 0
        self._room = limits.NOTES_PER_SECOND_MAX

    def finished(self, message: Finished, tried: int, tries: int) -> None:
        """An attempt ended; told if it did badly. `tries`: how many it has; 0: not known."""
        if message.outcome not in _ENDED_BADLY:
            return
        kind: Kind = "job_lost" if message.outcome == Outcome.LOST else "job_failed"
        if not self._has_room(kind):
            return
        text = _first_line(message.error) or _ENDED_BADLY[message.outcome]
        if tries:
            text += f", try {tried} of {tries}"
        self._keep(
            Note(
                at=to_rfc3339(message.finished_ms),
                kind=kind,
                text=text,
                pipeline=message.pipeline,
                job=message.name,
                run_id=message.run_id,
                job_id=message.job_id,
                worker=message.worker,
            )
        )

    def joined(self, info: WorkerUp, now_ms: int) -> None:
        """A worker is there; told unless it was there before we were."""
        if info.connected_ms >= self._began_ms and self._has_room("worker_joined"):
            slots = "1 slot" if info.slots == 1 else f"{info.slots} slots"
            text = f"joined from {info.host} with {slots}"
            self._keep(
                Note(at=to_rfc3339(now_ms), kind="worker_joined", text=text, worker=info.worker)
            )

    def left(self, worker: str, reason: str, now_ms: int) -> None:
        """A worker is gone."""
        if self._has_room("worker_left"):
            text = reason or "it left"
            self._keep(Note(at=to_rfc3339(now_ms), kind="worker_left", text=text, worker=worker))

    def changed(self, changes: tuple[ClassChange, ...]) -> None:
        """The last changes of class, newest first: those that were not there before are told."""
        for change in reversed(changes):
            if change in self._changes or change.at_ms < self._began_ms:
                continue
            if self._has_room("class_changed"):
                self._keep(
                    Note(
                        at=to_rfc3339(change.at_ms),
                        kind="class_changed",
                        text=f"{change.speed} now: {change.reason}",
                        pipeline=change.pipeline,
                        job=change.name,
                    )
                )
        self._changes = changes

    def _has_room(self, kind: Kind) -> bool:
        if self._room:
            self._room -= 1
            return True
        if not self._left_out:
            self._left_out_kind = kind
        self._left_out += 1
        return False

    def _keep(self, note: Note) -> None:
        self._last.append(note)
        self.told += 1


def _begin(now_ms: int) -> int:
    return now_ms - now_ms % limits.PULSE_MS


def _first_line(error: str | None) -> str:
    lines = (error or "").strip().splitlines()
    return lines[0][: limits.NOTE_CHARS_MAX] if lines else ""
