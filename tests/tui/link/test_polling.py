"""Decides how often what is shown is asked for."""

import asyncio
from collections.abc import Mapping

from control.model.json_values import Json
from tests.tui.sources import Canned
from tui.core.store import ConsoleLink, Store
from tui.link.polling import Asker, PolledCall


class _Counting(Canned):
    """Knows what it was asked."""

    def __init__(self) -> None:
        super().__init__(answers={f"/{number}": number for number in range(100)})
        self.asked: list[str] = []
        self._came = asyncio.Condition()

    async def ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Json = None,
    ) -> bytes:
        async with self._came:
            self.asked.append(path)
            self._came.notify_all()
        return await super().ask(method, path, query=query, body=body)

    async def until(self, path: str) -> None:
        """It was asked for this last."""
        async with self._came:
            await self._came.wait_for(lambda: self.asked[-1:] == [path])


def test_a_cursor_that_is_held_down_does_not_ask_of_every_object() -> None:
    async def run() -> None:
        store, source = Store(), _Counting()
        store.link = ConsoleLink(state="live")
        asker = Asker(source, store, lambda: 0)
        asking = asyncio.create_task(asker.run())
        for number in range(100):
            asker.want([PolledCall(key="it", path=f"/{number}", shape=int)])
            for _ in range(5):
                await asyncio.sleep(0)  # It could ask now.
        await source.until("/99")
        assert source.asked[:2] == ["/0", "/1"]
        assert len(source.asked) < 50  # On a slow machine more than 0.2 s may have gone by.
        asking.cancel()
        await asyncio.wait([asking])

    asyncio.run(run())
