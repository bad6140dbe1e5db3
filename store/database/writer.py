"""Owns the only write connection: pieces of work wait together and commit together.

Services hand in functions. All that wait run inside one `BEGIN IMMEDIATE … COMMIT`, each in its
own savepoint, and their tasks wake once: one fsync serves everybody. What a piece publishes or
acknowledges joins the same transaction through the participant (the embedded bus's log, or an
outbox).
"""

import sqlite3
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, Protocol, TypeVar

import outcome
import structlog
import trio

from control.model import limits
from control.model.bus.records import Receipts, Record
from control.model.errors import StoreFailed, Unavailable
from control.model.names import Change

T = TypeVar("T")
C = TypeVar("C")
LOG = structlog.get_logger("store")
# Turns of the event loop: a record's reader, the task it wakes, and the socket that one fills.
_HEAD_START: Final = 3


class Offload(Protocol):
    """Runs a function where it may block: `trio.to_thread.run_sync`, or inline in tests."""

    def __call__(self, sync_fn: Callable[[], T], /) -> Awaitable[T]:
        """Call it and give its value back."""


class Tx:
    """One piece of work's view of the transaction. `publish` and `ack` happen if it commits."""

    def __init__(self, conn: sqlite3.Connection) -> None:
        self.conn = conn
        self.published: list[Record] = []
        self.acked: list[Receipts] = []
        self.touched: set[Change] = set()
        self._undone: list[Callable[[], None]] = []

    def if_undone(self, forget: Callable[[], None]) -> None:
        """Call this, where the work runs, if it is not committed: the ids of its rows will then
        be given to others."""
        self._undone.append(forget)

    def undo(self) -> None:
        """Forget what was learned of rows that are no more."""
        for forget in self._undone:
            forget()

    def touch(self, change: Change) -> None:
        """Wake who waits for this kind of change, once it is committed."""
        self.touched.add(change)

    def publish(self, records: Sequence[Record]) -> None:
        """Put records on the bus, in this transaction."""
        self.published.extend(records)

    def ack(self, receipts: Sequence[Receipts]) -> None:
        """Mark records as finished, in this transaction."""
        self.acked.extend(receipts)


class Participant(Protocol):
    """Takes part in each commit, for the whole group of pieces at once."""

    def persist(self, conn: sqlite3.Connection, pieces: Sequence[Tx]) -> Callable[[], None]:
        """Write what the pieces published and acked. The returned call follows the commit."""

    def rolled_back(self) -> None:
        """Forget what `persist` did since the last commit."""


class _Piece(Generic[T]):
    def __init__(self, work: Callable[[Tx], T], *, patient: bool, bulk: bool) -> None:
        self.work = work
        self.patient = patient
        self.bulk = bulk
        self.done = trio.Event()
        self.since = trio.current_time()
        self.result: outcome.Outcome[T] | None = None


class Writer:
    """Runs pieces of work in groups. One instance, one connection, one task."""

    def __init__(
        self,
        conn: sqlite3.Connection,
        offload: Offload,
        participant: Participant,
        witness: Callable[[sqlite3.Connection], Callable[[], None]] | None = None,
        cpu_s: Callable[[], float] = time.thread_time,
    ) -> None:
        """`witness`: counts each commit, inside it; what it gives is called right after it.

        `cpu_s`: the clock by which a commit has taken in enough.
        """
        self._witness = witness
        self._cpu_s = cpu_s
        self._conn = conn
        self._offload = offload
        self._participant = participant
        self._waiting: deque[_Piece[object]] = deque()
        self._group: list[_Piece[object]] = []  # Being committed.
        self._patient: list[_Piece[object]] = []  # Committed, and answered after the next commit.
        self._arrived = trio.Event()
        self._room = trio.CapacityLimiter(limits.WRITER_QUEUE_MAX)
        self._stopped = False
        self.commits = 0
        self._changes = {change: trio.Event() for change in Change}
        self.failing: str | None = None  # Why the last commit failed; None after one that did not.

    async def write(
        self, work: Callable[[Tx], T], *, patient: bool = False, bulk: bool = False
    ) -> T:
        """Run `work` in a transaction; durable when it returns.

        Pieces are carried out in the order in which they were handed in: while there is room, no
        other task runs between the call and the place in the queue.
        An exception of `work` undoes only its own changes and is raised here. Raises
        `StoreFailed` when the database could not be written: then nothing was changed, and
        `Unavailable` after `run` has ended. Once taken up, the work ends before a cancellation is
        delivered. A `patient` caller is answered only after the commit that its own records lead
        to, if one follows at once: what it does next does not get in their way. What is `bulk`
        takes long, and has a commit of its own: those ahead of it do not wait for its end.
        """
        piece: _Piece[T] = _Piece(work, patient=patient, bulk=bulk)
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            self._room.acquire_on_behalf_of_nowait(piece)
        except trio.WouldBlock:
            await self._room.acquire_on_behalf_of(piece)
        try:
            if self._stopped:
                raise _stopped()
            self._waiting.append(piece)  # type: ignore[arg-type]  # Results are opaque here.
            self._arrived.set()
            with trio.CancelScope(shield=True):
                await piece.done.wait()
        finally:
            self._room.release_on_behalf_of(piece)
        assert piece.result is not None
        return piece.result.unwrap()

    async def insist(self, work: Callable[[Tx], T]) -> T:
        """Like `write`, for our own services: while the store fails, wait and try again."""
        while True:
            try:
                return await self.write(work)
            except StoreFailed:
                # The writer has said why; a full disk needs an operator, not a crash loop.
                await trio.sleep(1.0)

    def oldest_s(self) -> float:
        """For how long the oldest piece has been waiting for its commit."""
        oldest = self._group[0] if self._group else next(iter(self._waiting), None)
        return 0.0 if oldest is None else trio.current_time() - oldest.since

    def changed(self, change: Change) -> trio.Event:
        """Set by the next commit that touches this; get it before looking, wait after."""
        return self._changes[change]

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; what was handed in before that is still written."""
        task_status.started()
        try:
            while True:
                try:
                    await self._arrived.wait()
                except trio.Cancelled:
                    with trio.CancelScope(shield=True):
                        await self._drain()
                    raise
                await self._drain()
        finally:
            # Those who wait are shielded: without an answer, a crash would never get past them.
            self._stopped = True
            for piece in self._patient:
                piece.done.set()
            for piece in (*self._group, *self._waiting):
                piece.result = outcome.Error(_stopped())
                piece.done.set()

    async def _drain(self) -> None:
        while self._waiting:
            group = self._group = self._next_group()
            with trio.CancelScope(shield=True):
                after = await self._offload(lambda group=group: self._commit(group))  # type: ignore[misc]
            # What it had no time for is next.
            if group[-1].result is None:
                self._waiting.extendleft(reversed([each for each in group if not each.result]))
                group = self._group = [each for each in group if each.result]
            after()
            # Who was handed records hands in the next step before the callers have their answers:
            # a job's way to its worker must not wait for a response to be put together.
            with trio.CancelScope(shield=True):
                for _ in range(_HEAD_START):
                    await trio.lowlevel.checkpoint()
            following = bool(self._waiting) and not self._waiting[0].bulk
            for piece in self._patient:
                piece.done.set()
            self._patient = [piece for piece in group if following and piece.patient]
            for piece in group:
                if not (following and piece.patient):
                    piece.done.set()
            self._group = []
        self._arrived = trio.Event()

    def _next_group(self) -> list[_Piece[object]]:
        group = [self._waiting.popleft()]
        if not group[0].bulk:
            while (
                self._waiting and len(group) < limits.WRITER_GROUP_MAX and not self._waiting[0].bulk
            ):
                group.append(self._waiting.popleft())
        return group

    def _commit(self, group: Sequence[_Piece[object]]) -> Callable[[], None]:
        conn = self._conn
        begun: list[Tx] = []
        try:
            conn.execute("BEGIN IMMEDIATE")
            pieces: list[Tx] = []
            end_s = self._cpu_s() + limits.WRITER_GROUP_S
            for piece in group:
                if pieces and self._cpu_s() > end_s:
                    break
                tx = Tx(conn)
                begun.append(tx)
                conn.execute("SAVEPOINT piece")
                piece.result = outcome.capture(piece.work, tx)
                if isinstance(piece.result, outcome.Error):
                    if isinstance(piece.result.error, sqlite3.OperationalError):
                        raise piece.result.error
                    conn.execute("ROLLBACK TO piece")
                    tx.undo()
                else:
                    pieces.append(tx)
                conn.execute("RELEASE piece")
            after = self._participant.persist(conn, pieces)
            noted = self._witness(conn) if self._witness is not None else None
            conn.execute("COMMIT")
        except sqlite3.Error as error:
            for tx in begun:
                tx.undo()
            return self._failed(group, error)
        if noted is not None:
            try:
                noted()
            except OSError as error:  # A restore would not be noticed; nothing else needs it.
                LOG.warning("store.unwitnessed", error=str(error))
        self.failing = None
        self.commits += 1
        touched = set().union(*(tx.touched for tx in pieces))

        def committed() -> None:
            after()
            for change in touched:
                self._changes[change].set()
                self._changes[change] = trio.Event()

        return committed

    def _failed(self, group: Sequence[_Piece[object]], error: sqlite3.Error) -> Callable[[], None]:
        # A full disk, an I/O error: everybody in the group hears it, and nothing was changed.
        if self._conn.in_transaction:
            self._conn.execute("ROLLBACK")
        self._participant.rolled_back()
        self.failing = str(error)
        LOG.error("store.failed", error=str(error), pieces=len(group))
        for piece in group:
            failure = StoreFailed(f"the state database could not be written: {error}")
            failure.__cause__ = error
            piece.result = outcome.Error(failure)
        return lambda: None


def _stopped() -> Unavailable:
    return Unavailable("the control plane has stopped")
