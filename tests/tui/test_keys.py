"""Decides that every key that is shown does something, and that nobody changes what they may not.

Footer, help, and palette are compared with the bindings; each key is pressed on each screen.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from textual.actions import parse
from textual.binding import ActiveBinding
from textual.pilot import Pilot
from textual.widgets import OptionList

from control.model.json_values import Json
from control.model.states import Role
from tests.tui.sources import Hand, Obedient, drawn, drive, picture, press, typed, until
from tui.app import Console
from tui.core.commands import COMMANDS, LOGS, VIEWS, WRITES
from tui.screens.base_view import View
from tui.screens.confirm import Confirm
from tui.screens.palette import Palette
from tui.screens.run import RunDetail
from tui.screens.screen_frame import Framed
from tui.screens.text_screens import Described, Explained, Help, Messages
from tui.widgets.prompt import Prompt
from tui.widgets.reader import TextReader
from tui.widgets.table import Table

pytestmark = pytest.mark.slow

_SCREENS: Final[dict[str, tuple[str, ...]]] = {
    **{name: (str(place),) for place, name in enumerate(VIEWS, 1)},
    "run": ("4", "g", "down", "enter"),
    "explain": ("2", "x"),
    "describe": ("4", "d"),
    "help": ("4", "question_mark"),
    "messages": ("1", "colon", *"msg", "enter"),
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
    app.navigation.open_view(app.current_mode)  # Down to its root.
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


def _seen(app: Console, folder: Path) -> tuple[object, ...]:
    return (
        picture(app),
        id(app.screen),
        id(app.focused),
        len(app.notices.all),
        app.clipboard,
        app.window,
        sorted(folder.iterdir()),
    )


async def _offered(app: Console, screen: View) -> set[str]:
    """What the palette offers, without objects."""
    provider = Palette(screen)
    return {str(hit.text) async for hit in provider.discover()}


@pytest.mark.parametrize("name", _SCREENS)
def test_every_key_that_is_shown_does_something(recording: Path, tmp_path: Path, name: str) -> None:
    source = Obedient(recording)
    clock = Hand(source.now_ms())

    async def body(app: Console, pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: app.store.role is not None)
        await typed(pilot, ":rw")
        clock.ms += 10_000
        screen = await _go(app, pilot, name)
        for action, active in _commands(screen).items():
            _, method, _ = parse(action)
            assert hasattr(active.node, f"action_{method}"), (name, action)
            if action in {"quit", f"view('{name}')"}:
                continue
            clock.ms += 10_000  # So that the flash line is empty, and what is due is asked.
            if app.screen is not screen or isinstance(app.focused, Prompt | None):
                screen = await _go(app, pilot, name)
            app.flush_view()
            before = _seen(app, tmp_path)
            await press(pilot, active.binding.key)
            await drawn(app, pilot)
            if action not in _IDLE:
                assert _seen(app, tmp_path) != before, (name, action)
            assert not source.sent

    with contextlib.chdir(tmp_path):
        drive(source, body, now_ms=clock)


@pytest.mark.parametrize("name", _SCREENS)
def test_footer_help_and_palette_agree(recording: Path, name: str) -> None:
    source = Obedient(recording)

    async def body(app: Console, pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: app.store.role is not None)
        for writes in (False, True):
            if writes:
                await typed(pilot, ":rw")
            screen = await _go(app, pilot, name)
            found = _commands(screen)
            assert writes or not found.keys() & WRITES
            shown = {COMMANDS[action].word for action in found if COMMANDS[action].priority}
            footer = {word for _, word in Framed.keys(screen)}
            assert footer - {"open", "pane"} == shown
            rest = {f"{COMMANDS[each].word}  {COMMANDS[each].shown}" for each in found}
            assert await _offered(app, screen) == rest - {"palette  ctrl+p"}
            await press(pilot, "?")
            text = "\n".join("".join(span for span, _ in each) for each in _help(app).text())
            for action in found:
                assert COMMANDS[action].tip in text
            for action in COMMANDS.keys() - found.keys() - set(LOGS):
                assert COMMANDS[action].tip not in text
            assert writes or ":rw shows them" in text

    drive(source, body, now_ms=Hand(source.now_ms()))


def _help(app: Console) -> Help:
    assert isinstance(app.screen, Help)
    return app.screen


async def _tries_all(app: Console, pilot: Pilot[Any], clock: Hand) -> int:
    """Press the keys of all actions in all views; how many questions were asked."""
    asked = 0
    for name in (*VIEWS, "run"):
        clock.ms += 10_000
        screen = await _go(app, pilot, name)
        offered = _commands(screen).keys() & WRITES
        for action in sorted(WRITES):
            await press(pilot, COMMANDS[action].keys)
            if isinstance(app.screen, Confirm):
                asked += 1
                assert action in offered
                await press(pilot, "escape")
    return asked


def test_nobody_changes_what_they_may_not(recording: Path) -> None:
    source = Obedient(recording)
    clock = Hand(source.now_ms())

    async def body(app: Console, pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: app.store.role is not None)
        assert await _tries_all(app, pilot, clock) == 0
        await typed(pilot, ":rw")
        assert await _tries_all(app, pilot, clock) >= len(VIEWS)
        await typed(pilot, ":ro")
        assert await _tries_all(app, pilot, clock) == 0
        await typed(pilot, ":rw")
        clock.ms += 15 * 60_000 - 1
        app.flush_view()
        assert app.notices.all[-1].text != "read-only again"
        clock.ms += 1
        app.flush_view()
        assert app.notices.all[-1].text == "read-only again"
        assert await _tries_all(app, pilot, clock) == 0
        assert not source.sent

    drive(source, body, now_ms=clock)


def test_what_was_asked_is_not_done_when_the_time_is_over(recording: Path) -> None:
    source = Obedient(recording)
    clock = Hand(source.now_ms())

    async def body(app: Console, pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: app.store.role is not None)
        await typed(pilot, ":rw")
        await _go(app, pilot, "runs")
        await press(pilot, "ctrl+k")
        assert isinstance(app.screen, Confirm)
        clock.ms += 15 * 60_000
        await press(pilot, "y")
        assert "read-only: nothing was done" in {each.text for each in app.notices.all}
        assert not source.sent

    drive(source, body, now_ms=clock)


@pytest.mark.parametrize(("role", "replayed"), [(Role.VIEWER, False), (Role.OPERATOR, True)])
def test_a_viewer_and_a_replay_cannot_ask_for_more(
    recording: Path, role: Role, *, replayed: bool
) -> None:
    source = Obedient(recording, role=role)
    clock = Hand(source.now_ms())

    async def body(app: Console, pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: app.store.role is not None)
        await typed(pilot, ":rw")
        assert not app.may_write
        assert ("recording" if replayed else "may only look") in app.notices.all[-1].text
        assert await _tries_all(app, pilot, clock) == 0
        assert not source.sent

    drive(source, body, now_ms=clock, replayed=replayed)


def test_an_admin_may_write(recording: Path) -> None:
    source = Obedient(recording, role=Role.ADMIN)

    async def body(app: Console, pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: app.store.role is not None)
        await typed(pilot, ":rw")
        assert app.may_write
        assert "[RW 15m]" in (await drawn(app, pilot))[0]

    drive(source, body, now_ms=source.now_ms)


def test_the_palette_does_what_the_pane_in_focus_can(recording: Path) -> None:
    source = Obedient(recording)

    async def body(app: Console, pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: app.store.role is not None)
        screen = await _go(app, pilot, "help")
        reader = screen.query_one(TextReader)
        assert reader.wrapping
        await press(pilot, "ctrl+p", *"wrap")
        await until(pilot, lambda: len(app.screen.query_one(OptionList).options) == 1)
        await press(pilot, "enter", "enter")
        await until(pilot, lambda: not reader.wrapping, "the action")

    drive(source, body, now_ms=source.now_ms)


def test_q_leaves_at_a_root_only(recording: Path) -> None:
    source = Obedient(recording)

    async def body(app: Console, pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: app.store.role is not None)
        await _go(app, pilot, "describe")
        await press(pilot, "q")
        assert len(app.screen_stack) == 1
        assert app.return_code is None
        await press(pilot, "escape", "escape")
        assert app.is_running
        await press(pilot, "q")
        await until(pilot, lambda: app.return_code == 0)

    drive(source, body, now_ms=source.now_ms)


def test_q_does_not_cut_off_actions_that_are_on_their_way(recording: Path) -> None:
    sent, go = asyncio.Event(), asyncio.Event()

    class Slow(Obedient):
        """Takes its time to do what it is told."""

        async def ask(
            self,
            method: str,
            path: str,
            *,
            query: Mapping[str, str] | None = None,
            body: Json = None,
        ) -> bytes:
            if method != "GET":
                sent.set()
                await go.wait()
            return await super().ask(method, path, query=query, body=body)

    source = Slow(recording)

    async def body(app: Console, pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: app.store.role is not None)
        await typed(pilot, ":rw")
        await _go(app, pilot, "runs")
        await press(pilot, "ctrl+k", "y")
        await sent.wait()
        await press(pilot, "ctrl+q")
        assert app.return_code is None
        assert "actions on their way: 1" in app.notices.all[-1].text
        go.set()
        await until(pilot, lambda: source.sent, "the action")
        await press(pilot, "q")
        await until(pilot, lambda: app.return_code == 0)

    drive(source, body, now_ms=source.now_ms)
