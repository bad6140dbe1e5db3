"""Owns looking through the stored data for `tpctl doctor`: it answers soon, however much there is.

Looking takes seconds for each GB. A caller waits `DOCTOR_PATIENCE_S`, then gets the result of the
last look, with its age; the new look goes on, and the next caller gets its result.
"""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

import msgspec
import trio

from control.admission.lanes import ThreadPool, interruptible
from control.core.offsets import OffsetTracker
from control.model import limits
from control.model.api.views import CheckView
from control.model.errors import Rejected, StoreFailed
from store.database.connection import Connection, failures, interrupt, snapshot
from store.database.reader import open_reader
from store.doctor import Finding, examine

_CHECK: Final = "stored data"


class _Examination(msgspec.Struct, frozen=True):
    began_s: float
    found: Sequence[Finding]


class Examiner:
    """Looks when it is asked to, one look at a time."""

    def __init__(self, path: Path, lane: ThreadPool) -> None:
        self._path = path
        self._lane = lane
        self._conn: Connection | None = None
        self._latest: _Examination | None = None
        self._wanted = trio.Event()
        self._ended = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; a look that is under way is interrupted then."""
        task_status.started()
        while True:
            await self._wanted.wait()
            self._wanted = trio.Event()
            began_s = trio.current_time()
            found = await interruptible(self._look, self._lane, self._interrupt)
            self._latest = _Examination(began_s, found)
            self._ended.set()
            self._ended = trio.Event()

    async def checks(self) -> list[CheckView]:
        """A failed check for each fault of the data, or one check that passes; with its age."""
        asked_s = trio.current_time()
        self._wanted.set()
        with trio.move_on_after(limits.DOCTOR_PATIENCE_S):
            while self._latest is None or self._latest.began_s < asked_s:
                await self._ended.wait()
        look = self._latest
        if look is None:
            detail = "it is being looked through, which takes a while; ask again"
            return [CheckView(check=_CHECK, ok=True, detail=detail, warning=True)]
        age = ""
        if look.began_s < asked_s:
            age = f" (as it was {trio.current_time() - look.began_s:.0f} s ago; ask again)"
        return [
            CheckView(check=f"{_CHECK}, {each.rule}", ok=False, detail=each.message + age)
            for each in look.found
        ] or [CheckView(check=_CHECK, ok=True, detail=f"it is sound{age}")]

    def _look(self) -> list[Finding]:
        try:
            with (
                failures(f"{self._path} cannot be read"),
                closing(open_reader(self._path)) as self._conn,
                snapshot(self._conn),  # All rules see one instant.
            ):
                return examine(self._conn, lambda text: OffsetTracker.decode(text).watermark)
        except StoreFailed as error:
            return [Finding(rule="readable", message=str(error))]
        except Rejected as error:
            return [Finding(rule="readable", message=f"{self._path} cannot be read: {error}")]
        finally:
            self._conn = None

    def _interrupt(self) -> None:
        conn = self._conn
        if conn is not None:
            interrupt(conn)
