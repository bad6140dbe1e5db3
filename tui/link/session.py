"""Owns everything that runs beside the pictures: the live link, questions, what is watched."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from control.model.api.live import Frame, Watch
from tui.core.store import ConsoleLink, Store
from tui.link.event_stream import Follower
from tui.link.polling import Asker, PolledCall
from tui.link.source import Source

# Rows in view may change with every picture. Who scrolls hears of new ones soon enough.
_WATCH_PAUSE_S: Final = 0.5


class ConsoleSession:
    """One console's link to one control plane. Run it around the app, so that it ends whole."""

    def __init__(
        self,
        source: Source,
        store: Store,
        now_ms: Callable[[], int],
        changed: Callable[[], None],
    ) -> None:
        self.source = source
        self.store = store
        self._now_ms = now_ms
        self._changed = changed
        self._asker = Asker(source, store, now_ms)
        self._follower = Follower(source, frame=self._take, moved=self._moved, now_ms=now_ms)
        self._watch: Watch | None = None
        self._watch_changed = asyncio.Event()
        self._turned = asyncio.Event()  # Something else is watched, not only other rows of it.

    async def run(self) -> None:
        """Serve until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follower.run())
            group.create_task(self._asker.run())
            group.create_task(self._tell_watch())

    def want(self, questions: list[PolledCall], watch: Watch) -> None:
        """What the screen in front needs."""
        self._asker.want(questions)
        if watch != self._watch:
            if self._watch is None or _sort(watch) != _sort(self._watch):
                self._turned.set()
            self._watch = watch
            self._watch_changed.set()

    def refresh(self) -> None:
        """Try again now; ask everything again."""
        self._follower.hurry()
        self._asker.again()

    def ask_again(self) -> None:
        """Ask everything again: something was changed."""
        self._asker.again()

    async def _tell_watch(self) -> None:
        while True:
            await self._watch_changed.wait()
            self._watch_changed.clear()
            if self._watch is not None:
                await self.source.watch(self._watch)
                self._turned.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(_WATCH_PAUSE_S):
                        await self._turned.wait()

    def _take(self, frame: Frame) -> None:
        self.store.take(frame, self._now_ms())
        if frame.kind == "snapshot":
            self._asker.again()
        self._changed()

    def _moved(self, link: ConsoleLink) -> None:
        self.store.link = link
        if link.state == "live":
            self._asker.again()
        self._changed()


def _sort(watch: Watch) -> tuple[bool, int | None]:
    return watch.workers, watch.jobs_of
