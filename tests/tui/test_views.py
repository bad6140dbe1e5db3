"""Decides how one goes from view to view, and that making them early changes nothing."""

from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from tests.tui.sources import Obedient, drawn, drive, press, until
from tui.app import Console
from tui.core.history import History
from tui.widgets.prompt import Prompt


def test_back_and_forward() -> None:
    history = History("a")
    assert history.before is None
    assert history.step(-1) is None
    for name in "bcd":
        history.visit(name)
    assert [history.step(-1), history.step(-1), history.before] == ["c", "b", "a"]
    assert history.step(1) == "c"
    history.visit("e")
    assert history.step(1) is None
    assert [history.step(-1) for _ in range(4)] == ["c", "b", "a", None]


def test_only_the_last_ones_are_kept() -> None:
    history = History("a")
    for number in range(1_000):
        history.visit(str(number))
    back = 0
    while history.step(-1) is not None:
        back += 1
    assert back == 49


def test_views_that_are_made_early_change_nothing_on_the_screen(recording: Path) -> None:
    source = Obedient(recording)

    async def body(app: Console, pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: app.store.role is not None)
        before = await drawn(app, pilot)
        focused = app.focused
        for left in (4, 3, 2, 1, 0, 0):
            app.make_view()
            assert len(app.unmade) == left
        assert app.current_mode == "overview"
        assert app.focused is focused
        assert await drawn(app, pilot) == before
        await press(pilot, "5")
        await until(pilot, lambda: app.current_mode == "workers")
        assert "[5 Workers]" in "\n".join(await drawn(app, pilot))

    drive(source, body, now_ms=source.now_ms)


def test_nothing_is_made_under_a_dialog_or_while_something_is_typed(recording: Path) -> None:
    source = Obedient(recording)

    async def body(app: Console, pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: app.store.role is not None)
        await press(pilot, "ctrl+p")
        dialog = app.screen
        app.make_view()
        await pilot.pause()
        assert app.screen is dialog
        assert len(app.unmade) == 5
        await press(pilot, "escape", ":", "r")
        app.make_view()
        await press(pilot, "u", "n")
        assert app.screen.query_one(Prompt).value == "run"

    drive(source, body, now_ms=source.now_ms)
