"""Takes a picture of the console: presses keys, waits until nothing changes any more, and looks."""

import asyncio
import io
import os
import random
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
from rich.console import Console as Paper
from textual.pilot import Pilot

from bench.shots.scene import LOST_MS, SEEN_MS, TOLD_MS, Kind
from tui.app import Console
from tui.link.replay import Replay
from tui.screens.screen_frame import Framed

WIDE: Final = (120, 36)
SMALL: Final = (80, 24)
_LOOKS_MAX: Final = 200
_TURNS_MAX: Final = 10_000
_TRIES: Final = 5
_PATIENCE: Final = 40
_STILL: Final = 3  # So many looks have to be the same.
_FONT: Final = "DejaVu Sans Mono"
_SIZE: Final = f"font-size: {20 * 0.61 / 0.60205:.3f}px"  # Rich's cell, by our font's.


class Take(msgspec.Struct, frozen=True, kw_only=True):
    """One picture. `keys`: pressed before it, one after the other; `typed` words are spelled."""

    name: str
    keys: tuple[str, ...] = ()
    kind: Kind = "live"
    size: tuple[int, int] = WIDE
    theme: str | None = None
    no_colour: bool = False


class Picture(msgspec.Struct, frozen=True):
    """What was seen: as text, and as it looks."""

    text: str
    svg: str


class Still:
    """A `Pace` that stands, until it is put elsewhere."""

    def __init__(self, ms: int) -> None:
        self._ms = ms
        self._moved = asyncio.Condition()

    def ms(self) -> int:
        """Where one is."""
        return self._ms

    async def until(self, ms: int) -> None:
        """Return when it was put there, or further."""
        async with self._moved:
            await self._moved.wait_for(lambda: self._ms >= ms)

    async def put(self, ms: int) -> None:
        """Go there."""
        async with self._moved:
            self._ms = ms
            self._moved.notify_all()


def typed(text: str) -> tuple[str, ...]:
    """The keys that spell this."""
    names = {" ": "space", ":": "colon", "/": "slash", ">": "greater_than_sign", ".": "full_stop"}
    return tuple(names.get(each, each) for each in text)


async def look(take: Take, recording: Path) -> Picture:
    """Open the console on a recording, and take the picture."""
    pace = Still(TOLD_MS)
    source = Replay(recording, pace)
    with _colours(wanted=not take.no_colour):
        app = Console(source, now_ms=source.now_ms, version="0.1.0", theme=take.theme)
    async with app.run_test(size=take.size) as pilot:
        link = asyncio.create_task(app.session.run())
        try:
            await settle(app, pilot)
            await pace.put(SEEN_MS)  # Some things are looked at once a second only.
            await settle(app, pilot)
            for key in take.keys:
                await pilot.press(key)
                await settle(app, pilot)
            if take.kind == "stale":
                await _lose_link(app, pace)
            await settle(app, pilot)
            svg = app.export_screenshot(title="tpctl tui")
            text = seen(app)
        finally:
            link.cancel()
            await asyncio.wait([link])
    await source.aclose()
    return Picture(text, _in_our_font(svg))


async def settle(app: Console, pilot: Pilot[Any]) -> None:
    """Wait until all is told, all questions are answered, and the picture stays as it is."""
    before, same = "", 0
    for number in range(1, _LOOKS_MAX + 1):
        await pilot.pause()
        if number % _PATIENCE == 0:
            app.session.ask_again()  # Our clock stands, so nothing is due again by itself.
        if isinstance(app.screen, Framed):
            app.screen.flush(order=True)
        await pilot.pause()
        now = seen(app)
        same = same + 1 if now == before and not _awaited(app) else 0
        if same == _STILL:
            return
        before = now
    message = f"the picture did not come to rest:\n{before}"
    raise RuntimeError(message)


def seen(app: Console) -> str:
    """The text on the screen."""
    width, height = app.size
    paper = Paper(
        width=width,
        height=height,
        file=io.StringIO(),
        force_terminal=True,
        record=True,
        legacy_windows=False,
        safe_box=False,
    )
    # As Textual's own `export_screenshot` does it; there is no public way to the text.
    compositor = app.screen._compositor  # noqa: SLF001
    paper.print(compositor.render_update(full=True, screen_stack=app._background_screens))  # noqa: SLF001
    lines = paper.export_text().split("\n")[:height]
    return "\n".join(each.rstrip() for each in lines) + "\n"


def _awaited(app: Console) -> bool:
    """Whether something is still to come."""
    store = app.store
    if store.link.state != "live" or not isinstance(app.screen, Framed):
        return False
    return any(each.key not in store.answers for each in app.screen.questions())


async def _lose_link(app: Console, pace: Still) -> None:
    """Go to where the link has been lost for a while, and was tried several times."""
    random.seed(1)  # The pauses between tries are by chance.
    for ms in (SEEN_MS, *[SEEN_MS + LOST_MS] * _TRIES):
        before = app.store.link
        await pace.put(ms)
        app.session.refresh()
        for _ in range(_TURNS_MAX):
            if app.store.link is not before:
                break
            await asyncio.sleep(0)


@contextmanager
def _colours(*, wanted: bool) -> Iterator[None]:
    """With colours or without, whatever the environment says."""
    before = os.environ.pop("NO_COLOR", None)
    if not wanted:
        os.environ["NO_COLOR"] = "1"
    try:
        yield
    finally:
        os.environ.pop("NO_COLOR", None)
        if before is not None:
            os.environ["NO_COLOR"] = before


def _in_our_font(svg: str) -> str:
    """Rich's font would come from elsewhere. In the right size ours is as wide by itself."""
    bare = re.sub(r"@font-face\s*{[^}]*}", "", svg).replace("Fira Code", _FONT)
    exact = re.sub(r' textLength="[^"]*"', "", bare).replace("font-size: 20px", _SIZE)
    return re.sub(r"terminal-\d+", "terminal", exact)
