"""Decides that every key that is shown does something, and that nobody changes what they may not.

Footer, help, and palette are compared with the bindings; each key is pressed on each screen.
"""

import contextlib
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from textual.actions import parse
from textual.pilot import Pilot
from textual.screen import ActiveBinding
from textual.widgets import OptionList

from bench.shots import scene
from control.model.states import Role
from tests.tui.sources import Hand, Obedient, drawn, drive, picture, press, rest, typed, until
from tui.app import Console
from tui.core.commands import COMMANDS, VIEWS, WRITES, Command
from tui.link.source import Source
from tui.screens.confirm import Confirm
from tui.screens.framed import Framed
from tui.screens.palette import Palette
from tui.screens.run import RunDetail
from tui.screens.texts import Described, Explained, Help, Messages
from tui.screens.view import View
from tui.widgets.prompt import Prompt
from tui.widgets.table import Table

Do = Callable[[Console, Pilot[Any]], Awaitable[None]]
_SCREENS: Final[dict[str, tuple[str, ...]]] = {
    **{name: (str(place),) for place, name in enumerate(VIEWS, 1)},
    "run": ("4", "g", "down", "enter"),
    "explain": ("2", "x"),
    "describe": ("4", "d"),
    "help": ("4", "question_mark"),
    "messages": ("1", "colon", *"messages", "enter"),
}
_KINDS: Final = {
    "run": RunDetail,
    "explain": Explained,
    "describe": Described,
    "help": Help,
    "messages": Messages,
}
# Where a key rightly does nothing yet: one is there already, at the end, or nothing was sought.
_IDLE: Final = {"back", "history(1)", "hit(1)", "hit(-1)", "attempt(1)", "attempt(-1)", "wrap"}


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The made-up system."""
    return scene.write(tmp_path_factory.mktemp("scene") / "live.jsonl")


@contextlib.contextmanager
def _elsewhere(path: Path) -> Iterator[None]:
    with contextlib.chdir(path):
        yield


def _commands(screen: View) -> dict[str, ActiveBinding]:
    """Commands whose keys do something now."""
    return {
        active.binding.action: active
        for active in screen.active_bindings.values()
        if active.enabled and active.binding.action in COMMANDS
    }


async def _go(app: Console, pilot: Pilot[Any], name: str) -> View:
    """Open this screen anew, whatever is in front."""
    while not isinstance(app.screen, View) or isinstance(app.focused, Prompt):
        await press(pilot, "escape")
    if app.mode().frozen_since_ms is not None:
        app.toggle_freeze()
    app.window = "1h"
    first, *rest = _SCREENS[name]
    await press(pilot, first)
    app.open_view(app.current_mode)  # Down to its root.
    await until(pilot, lambda: len(app.screen_stack) == 1)
    for table in app.screen.query(Table):
        table.rows.only_faults = False
        table.marks.clear()
    await press(pilot, *rest)
    if name in _KINDS:
        await until(pilot, lambda: isinstance(app.screen, _KINDS[name]), name)
    assert isinstance(app.screen, View)
    await _loaded(app, pilot)
    return app.screen


async def _loaded(app: Console, pilot: Pilot[Any]) -> None:
    """Wait until what the screen asks for has been answered."""

    def all_there() -> bool:
        app.flush_view()
        screen = app.screen
        return isinstance(screen, Framed) and all(
            each.key in app.store.answers for each in screen.questions()
        )

    await until(pilot, lambda: app.store.frame_ms is not None, "the snapshot")
    await until(pilot, all_there, "the answers")
    await drawn(app, pilot)


def _panes(screen: View) -> int:
    return sum(box.can_focus for box in screen.query("#body Box").results(Table)) or 1


def _seen(app: Console, folder: Path) -> tuple[object, ...]:
    return (
        picture(app),
        id(app.screen),
        id(app.focused),
        len(app.messages),
        app.clipboard,
        app.window,
        sorted(folder.iterdir()),
    )


async def _offered(app: Console, screen: View) -> set[str]:
    """What the palette offers, without objects."""
    provider = Palette(screen)
    return {str(hit.text) async for hit in provider.discover()}


@pytest.mark.parametrize("writes", [True], ids=["rw"])
@pytest.mark.parametrize("name", _SCREENS)
def test_every_key_that_is_shown_does_something(
    recording: Path, tmp_path: Path, name: str, *, writes: bool
) -> None:
    source = Obedient(recording)
    clock = Hand(source.now_ms())

    async def body(app: Console, pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: app.store.role is not None)
        if writes:
            await typed(pilot, ":rw")
        clock.ms += 10_000
        screen = await _go(app, pilot, name)
        for action, active in _commands(screen).items():
            _, method, _ = parse(action)
            assert hasattr(active.node, f"action_{method}"), (name, action)
            if action in {"quit", f"view('{name}')"}:
                continue
            clock.ms += 10_000  # So that the flash line is empty, and what is due is asked.
            screen = await _go(app, pilot, name)
            before = _seen(app, tmp_path)
            await press(pilot, active.binding.key)
            await drawn(app, pilot)
            if action not in _IDLE:
                assert _seen(app, tmp_path) != before, (name, action)
            assert not source.sent

    with _elsewhere(tmp_path):
        drive(source, body, now_ms=clock)
