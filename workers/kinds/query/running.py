"""Owns one statement in a thread: what it answers, and how it is stopped from outside.

Drivers block, so each attempt has a thread. When it is cancelled, the server is asked to cancel the
statement until the thread has ended; if neither answers in time, the connection is broken, and at
last the thread is left behind: it closes the connection when it can.
"""

import threading
from collections.abc import Callable
from typing import Final, Generic, TypeVar

import trio

from control.model import limits
from workers.kinds.query.session import ServerSession

T = TypeVar("T")

# Slots are the bound. What stops a statement must not wait for a thread.
_threads: Final = trio.CapacityLimiter(4 * limits.SLOTS_MAX)


class Stopped(Exception):
    """The job of this statement was cancelled."""


class RunningSession(Generic[T]):
    """A session from its opening to its end. `use` gets it, in a thread."""

    def __init__(
        self, opening: Callable[[], ServerSession], use: Callable[[ServerSession], T]
    ) -> None:
        self._opening = opening
        self._use = use
        self._session: ServerSession | None = None
        self._stopped = False
        self._in_use = threading.Lock()  # By a thread other than the statement's own.
        self._done = trio.Event()

    async def run(self) -> T:
        """Return what `use` returns, or raise what it raises."""
        answers: list[T] = []
        errors: list[Exception] = []
        thread = trio.CancelScope(shield=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._stop_when_cancelled, thread)
            with thread:
                try:
                    answers.append(await _in_thread(self._work))
                except Exception as error:  # noqa: BLE001 - Raised again outside of the nursery.
                    errors.append(error)
            self._done.set()
            nursery.cancel_scope.cancel()
        if errors:
            raise errors[0]
        return answers[0]

    def _work(self) -> T:
        session = self._opening()
        try:
            with self._in_use:
                self._session = session
            if self._stopped:
                raise Stopped
            return self._use(session)
        finally:
            with self._in_use:
                self._session = None
            session.close()

    async def _stop_when_cancelled(self, thread: trio.CancelScope) -> None:
        try:
            await trio.sleep_forever()
        finally:
            if not self._done.is_set():
                with trio.CancelScope(shield=True):
                    await self._stop()
                    thread.cancel()

    async def _stop(self) -> None:
        self._stopped = True
        with trio.move_on_after(limits.SQL_STOP_S):
            # Without a session nothing was sent yet, and nothing will be.
            while self._session is not None and not self._done.is_set():
                await _in_thread(self._cancel)
                with trio.move_on_after(limits.INTERRUPT_AGAIN_S):
                    await self._done.wait()
        if self._session is not None:
            with trio.move_on_after(limits.SQL_SEVER_S):
                await _in_thread(self._sever)
                await self._done.wait()

    def _cancel(self) -> None:
        with self._in_use:
            if self._session is not None:
                _attempt(self._session.cancel)

    def _sever(self) -> None:
        # Without the lock, which an order to cancel may hold that the server does not take.
        if (session := self._session) is not None:
            _attempt(session.sever)


async def _in_thread(work: Callable[[], T]) -> T:
    return await trio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=_threads)


def _attempt(order: Callable[[], None]) -> None:
    try:
        order()
    except Exception:  # noqa: BLE001 - Drivers raise anything; what fails is followed by more.
        return
