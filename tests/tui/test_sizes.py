"""Decides that zoom, tab, and any size of the terminal leave every pane reachable."""

from typing import Any

import pytest
from textual.pilot import Pilot

from tests.tui.made_up import made_up, opened
from tests.tui.sources import (
    drawn,
    drive,
    press,
    until,
)
from tui.app import Console
from tui.core.commands import VIEWS
from tui.widgets.box import Box

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("key", list("123456"))
def test_zoom_and_back(key: str) -> None:
    async def body(app: Console, pilot: Pilot[Any]) -> None:
        view = await opened(app, pilot, key)
        panes = [box for box in view.query("#body Box").results(Box) if box.can_focus]
        if len(panes) == 1:
            return
        before = await drawn(app, pilot)
        for _ in panes:
            pane = app.focused
            await press(pilot, "z")
            await drawn(app, pilot)
            assert app.focused is pane
            seen = [box for box in view.query("#body Box").results(Box) if box.region.area]
            assert seen == [pane]
            await press(pilot, "tab")  # Another pane, alone as well.
            await drawn(app, pilot)
            assert isinstance(app.focused, Box)
            assert app.focused.region.area
            await press(pilot, "z")
            await drawn(app, pilot)
            view.set_focus(pane)
            await press(pilot, "tab")
        view.set_focus(panes[0])
        assert [box for box in panes if not box.region.area] == []
        view.set_focus(next(box for box in panes))
        first = panes[0]
        await press(pilot, "z", "escape")
        assert len([box for box in panes if box.region.area]) == len(panes)
        assert app.focused is first
        assert len(await drawn(app, pilot)) == len(before)

    drive(made_up(), body)


@pytest.mark.parametrize("key", list("123456"))
def test_tab_brings_every_pane_to_the_front_of_a_small_terminal(key: str) -> None:
    async def body(app: Console, pilot: Pilot[Any]) -> None:
        view = await opened(app, pilot, key)
        wanted = {box for box in view.query("#body Box").results(Box) if box.can_focus}
        found = set()
        for _ in range(len(wanted) + 2):
            await press(pilot, "tab")
            await drawn(app, pilot)
            assert isinstance(app.focused, Box)
            assert app.focused.region.area, app.focused
            assert view.region.contains_region(app.focused.region), app.focused
            found.add(app.focused)
        assert found == wanted
        await press(pilot, "shift+tab")
        assert app.focused in wanted

    drive(made_up(), body, size=(80, 24))


def test_no_size_crashes() -> None:
    async def body(app: Console, pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: app.store.frame_ms is not None)
        sizes = [(20, 5), (1, 1), (200, 60), (80, 24), (79, 23), (40, 60), (200, 6), (120, 36)]
        for number, name in enumerate(VIEWS):
            app.navigation.open_view(name)
            await until(pilot, lambda: app.screen.is_mounted)
            for size in [*sizes[number % 2 :: 2], (20, 5)]:
                await pilot.resize_terminal(*size)
                lines = await drawn(app, pilot)
                assert len(lines) == size[1]
        app.navigation.open_run(90412)
        for size in sizes:
            await pilot.resize_terminal(*size)
            await drawn(app, pilot)
        await press(pilot, "?")
        for size in sizes:
            await pilot.resize_terminal(*size)
            await drawn(app, pilot)

    drive(made_up(), body)
