"""Owns the reading of one attempt's log while it is looked at."""

import asyncio
from collections import deque
from typing import Final

from control.model.display_text import LogCleaner
from tui.core.spans import MORE, Line, line
from tui.link.source import Away, LinkError, Source

_PENDING_MAX: Final = 20_000
_LINE_MAX: Final = 2_000
_AGAIN_S: Final = 1.0


class LogFeed:
    """Takes a log as it comes; the screen takes lines from it as often as it draws.

    More lines than can be drawn are dropped, the oldest first, and that is said.
    """

    def __init__(self, source: Source, job_id: int, attempt: int) -> None:
        self.job_id = job_id
        self.attempt = attempt
        self.problem = ""
        self._source = source
        self._cleaner = LogCleaner(colour=False)
        self._rest = ""
        self._pending: deque[str] = deque(maxlen=_PENDING_MAX)
        self._came = 0
        self._taken = 0
        self._bytes = 0

    async def run(self) -> None:
        """Follow the log until it has ended; a link that breaks is waited for."""
        while True:
            try:
                await self._follow()
            except Away as error:
                self.problem = str(error)
                await asyncio.sleep(_AGAIN_S)
            except LinkError as error:
                self.problem = str(error)
                return
            else:
                return

    def take(self) -> list[Line]:
        """What has come since the last time."""
        lines: list[Line] = []
        missed = self._came - self._taken - len(self._pending)
        if missed:
            lines.append(line((f"┄┄ {missed} lines not shown: too fast to draw ┄┄", "warn")))
        while self._pending:
            lines.append(line(" ", self._pending.popleft()))
        self._taken = self._came
        return lines

    async def _follow(self) -> None:
        skip = self._bytes  # After a break the log comes from its begin again.
        async with self._source.log(self.job_id, self.attempt) as pieces:
            async for piece in pieces:
                fresh = piece[skip:]
                skip = max(skip - len(piece), 0)
                self._bytes += len(fresh)
                self.problem = ""
                self._add(self._cleaner.feed(fresh))
        end = self._cleaner.finish()
        self._add(end + ("\n" if self._rest or end else ""))

    def _add(self, text: str) -> None:
        *whole, self._rest = (self._rest + text).split("\n")
        if len(self._rest) > _LINE_MAX:
            self._rest = self._rest[:_LINE_MAX] + MORE
        for each in whole:
            self._pending.append(each if len(each) <= _LINE_MAX else each[:_LINE_MAX] + MORE)
        self._came += len(whole)
