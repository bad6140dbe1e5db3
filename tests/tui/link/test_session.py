"""Holds what is watched to being said soon, but not with every row that comes and goes."""

import asyncio

from control.model.api.live import Watch
from tests.tui.sources import Canned
from tui.core.store import Store
from tui.link.session import ConsoleSession


class _Listening(Canned):
    """Tells when it was told what to watch."""

    def __init__(self) -> None:
        super().__init__()
        self._heard = asyncio.Condition()

    async def watch(self, wanted: Watch) -> None:
        async with self._heard:
            await super().watch(wanted)
            self._heard.notify_all()

    async def until(self, wanted: Watch) -> None:
        """It was told this last."""
        async with self._heard:
            await self._heard.wait_for(lambda: self.watches[-1:] == [wanted])


async def _settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_of_rows_that_come_and_go_the_last_are_watched() -> None:
    async def run() -> None:
        source = _Listening()
        session = ConsoleSession(source, Store(), lambda: 0, lambda: None)
        running = asyncio.create_task(session.run())
        for number in (1, 2, 3):
            session.want([], Watch(runs=[number]))
            await _settle()
        await source.until(Watch(runs=[3]))
        assert source.watches == [Watch(runs=[1]), Watch(runs=[3])]
        running.cancel()
        await asyncio.wait([running])

    asyncio.run(run())


def test_another_view_is_said_at_once() -> None:
    async def run() -> None:
        source = _Listening()
        session = ConsoleSession(source, Store(), lambda: 0, lambda: None)
        running = asyncio.create_task(session.run())
        shown = [Watch(runs=[1]), Watch(runs=[], jobs_of=7), Watch(runs=[], jobs_of=8)]
        for watch in shown:
            session.want([], watch)
            await _settle()
        assert source.watches == shown  # No time has gone by.
        running.cancel()
        await asyncio.wait([running])

    asyncio.run(run())
