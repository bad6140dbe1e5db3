"""Owns one listener of the live events: what it wants to see, and the frames that wait for it.

One that is too slow loses frames, not memory: its next frame is a new snapshot that says `gap`.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final

import msgspec
import trio

from control.api.auth.authentication import Caller
from control.api.http.problems import Malformed
from control.model import limits
from control.model.api.live import Watch
from control.model.api.views import JobView, RunView

_FRAMES_MAX: Final = 8  # Kept for a listener that is slow.
_WATCH: Final = msgspec.json.Decoder(Watch)
# A frame is made once for all, and begins with a `seq` that each listener counts for itself.
_UNNUMBERED: Final = len(b'{"seq":0')


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """What of the changes one listener is told; the same share is the same frame."""

    runs: tuple[int, ...]
    jobs: tuple[int, ...]
    runs_more: int
    fleet: bool
    notes_after: int  # How many it has been told of already, or had in its snapshot.
    notes_until: int
    workers: bool

    @property
    def empty(self) -> bool:
        """Whether there is nothing to tell."""
        return not (self.runs or self.jobs or self.fleet or self.notes_after < self.notes_until)


class Listener:
    """One websocket's view of the stream."""

    def __init__(self, who: Caller) -> None:
        self.who = who
        self.watch = Watch()
        self.watched: frozenset[int] = frozenset()
        self.new_above = 0  # Runs with a larger id began after its snapshot.
        self._notes: int | None = None  # How many it was sent; None: its snapshot is being made.
        self.behind = True  # Nothing was sent yet: it needs a snapshot.
        self._owed: set[int] = set()  # Runs to be told of, changed or not.
        self._frames: deque[bytes] = deque()
        self._arrived = trio.Event()
        self._seq = 0

    @property
    def started(self) -> bool:
        """Whether it was sent anything yet."""
        return self._seq > 0

    def heed(self, text: str | None) -> frozenset[int]:
        """It says what it wants: gives the runs it has not wanted before; raises `Malformed`."""
        watch, before = read_watch(text), self.watched
        self.watch, self.watched = watch, frozenset(watch.runs or ())
        fresh = self.watched - before
        self._owed = (self._owed | fresh) & self.watched
        return fresh

    def began(self, told: Sequence[RunView], *, newest_run: int, notes: int) -> frozenset[int]:
        """It gets a snapshot with these runs: gives those it watches that are not among them."""
        self.new_above, self._notes = newest_run, notes
        owed = self.watched - {run.id for run in told}
        self._owed = set(owed)
        return owed

    def share(
        self,
        runs: Sequence[RunView],
        changed: frozenset[int],
        jobs: Sequence[JobView],
        *,
        runs_more: int,
        fleet: bool,
        notes: int,
    ) -> Share:
        """What it is told of these, newest first.

        `changed`: which runs are other than before; `notes`: how many there have been so far.
        """
        told: list[int] = []
        new = 0
        for run in runs:
            if run.id in self._owed:
                self._owed.discard(run.id)
                told.append(run.id)
            elif run.id not in changed:
                continue
            elif self.watch.runs is None or run.id in self.watched:
                told.append(run.id)
            elif run.id > self.new_above:
                new += 1
                if new <= limits.NEW_RUNS_MAX:
                    told.append(run.id)
        wanted = self.watch.jobs_of
        # What comes while its snapshot is being made is in the snapshot.
        notes_after = notes if self._notes is None else min(self._notes, notes)
        if self._notes is not None:
            self._notes = max(self._notes, notes)
        return Share(
            runs=tuple(told),
            jobs=tuple(job.id for job in jobs if wanted is None or job.run_id == wanted),
            runs_more=runs_more + max(new - limits.NEW_RUNS_MAX, 0),
            fleet=fleet,
            notes_after=notes_after,
            notes_until=notes,
            workers=self.watch.workers,
        )

    def offer(self, frame: bytes) -> None:
        """Take a frame of changes, unless a snapshot is due anyway."""
        if self.behind:
            return
        if len(self._frames) >= _FRAMES_MAX:
            self.fall_behind()
            return
        self._frames.append(frame)
        self._arrived.set()

    def fall_behind(self) -> None:
        """Frames were lost: only a snapshot helps."""
        self._frames.clear()
        self.behind = True
        self._arrived.set()

    async def ready(self) -> bytes | None:
        """The next frame to send; None: it is a snapshot, which has to be made."""
        while not self._frames and not self.behind:
            self._arrived = trio.Event()
            await self._arrived.wait()
        if not self.behind:
            return self._frames.popleft()
        self.behind = False  # What changes from here on is offered again.
        self._notes = None
        return None

    def numbered(self, frame: bytes) -> bytes:
        """The frame as it is sent."""
        frame = b'{"seq":%d' % self._seq + frame[_UNNUMBERED:]
        self._seq += 1
        return frame


def read_watch(text: str | None) -> Watch:
    """What a listener says; raises `Malformed`."""
    if text is None:
        message = "say what to watch in a text frame"
        raise Malformed(message)
    if len(text) > limits.WATCH_BYTES_MAX:
        message = f"what to watch is said in {limits.WATCH_BYTES_MAX} characters at most"
        raise Malformed(message)
    try:
        return _WATCH.decode(text)
    except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError) as error:
        message = f"this is nothing to watch: {error}"
        raise Malformed(message) from error
