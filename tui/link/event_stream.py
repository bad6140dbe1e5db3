"""Owns the live link: it is made again whenever it breaks, for ever, and what it brings is told.

The pauses between tries grow from a quarter of a second to one and a half; a refusal waits
longest, since only a person can mend it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from control.model.api.live import Frame
from tui.core.store import ConsoleLink
from tui.link.source import UNREADABLE, Away, LinkError, Outdated, RequestRefused, Source

_PAUSE_MIN_S: Final = 0.25
_PAUSE_MAX_S: Final = 1.5  # A server that is back is seen within two seconds.
_REFUSED_S: Final = 5.0
_ADVICE: Final = "bring both to one version (`tpctl --version`, `tpctl doctor`)"
_DECODER: Final = msgspec.json.Decoder(Frame)


class Follower:
    """Follows one control plane's events."""

    def __init__(
        self,
        source: Source,
        *,
        frame: Callable[[Frame], None],
        moved: Callable[[ConsoleLink], None],
        now_ms: Callable[[], int],
    ) -> None:
        self._source = source
        self._frame = frame
        self._moved = moved
        self._now_ms = now_ms
        self._scope: asyncio.Timeout | None = None
        self._live = False

    def hurry(self) -> None:
        """Try again now; a link that is there is made anew, for a fresh snapshot."""
        if self._scope is not None and not self._scope.expired():
            self._scope.reschedule(asyncio.get_running_loop().time())

    async def run(self) -> None:
        """Follow until cancelled."""
        pause_s = _PAUSE_MIN_S
        since_ms = self._now_ms()
        self._moved(ConsoleLink(state="connecting", since_ms=since_ms))
        while True:
            self._live = False
            problem = await self._follow()
            if self._live:
                pause_s, since_ms = _PAUSE_MIN_S, self._now_ms()
            if problem is None:
                continue
            final = isinstance(problem, RequestRefused | Outdated)
            chance = 0.5 + self._now_ms() % 997 / 1994  # So that not all consoles come at once.
            wait_s = _REFUSED_S if final else pause_s * chance
            self._moved(
                ConsoleLink(
                    state="refused" if final else "lost",
                    why=str(problem),
                    since_ms=since_ms,
                    next_try_ms=self._now_ms() + round(wait_s * 1000),
                )
            )
            pause_s = min(pause_s * 2, _PAUSE_MAX_S)
            await self._unless_hurried(asyncio.sleep(wait_s))

    async def _follow(self) -> LinkError | None:
        """Follow until the link breaks, and why it did; None: it was to be made anew."""
        try:
            hurried = await self._unless_hurried(self._take_all())
        except LinkError as error:
            return error
        return None if hurried else Away("the control plane has closed the connection")

    async def _take_all(self) -> None:
        seq: int | None = None  # Of the frame before.
        async with self._source.frames() as frames:
            async for raw in frames:
                frame = _decoded(raw)
                if frame.kind != "snapshot" and seq is not None and frame.seq != seq + 1:
                    message = "changes are missing: everything is taken anew"
                    raise Away(message)
                seq = frame.seq
                if not self._live:
                    self._live = True
                    self._moved(ConsoleLink(state="live", since_ms=self._now_ms()))
                self._frame(frame)

    async def _unless_hurried(self, work: Awaitable[None]) -> bool:
        """Do this; True: `hurry` came first."""
        try:
            async with asyncio.timeout(None) as self._scope:
                await work
        except TimeoutError:
            if self._scope is None or not self._scope.expired():
                raise
            return True
        finally:
            self._scope = None
        return False


def _decoded(raw: bytes) -> Frame:
    try:
        frame = _DECODER.decode(raw)
    except UNREADABLE as error:
        message = f"this console does not understand the server: {error}; {_ADVICE}"
        raise Outdated(message) from error
    if frame.kind == "snapshot" and frame.version is None:
        message = f"the server is older than this console; {_ADVICE}"
        raise Outdated(message)
    return frame
