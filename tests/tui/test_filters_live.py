"""Decides that filter, freeze, errors only, sort, zoom, and sizes work while everything moves."""

from functools import partial
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import OptionList

from bench.shots import fleet
from control.model.api.explanation import Explanation
from control.model.api.views import Page
from control.model.states import State
from tests.tui.made_up import as_text, made_up, opened
from tests.tui.samples import a_group, a_job, a_run, some_counts, some_queues
from tests.tui.sources import (
    Canned,
    Hand,
    changes,
    drawn,
    drive,
    picture,
    press,
    rest,
    snapshot,
    typed,
    until,
)
from tui.app import Console
from tui.link.source import Away
from tui.screens.screen_frame import Framed
from tui.screens.sorting import SortMenu
from tui.widgets.table import Table


def test_a_filter_works_while_it_is_typed() -> None:
    async def body(app: Console, pilot: Pilot[Any]) -> None:
        view = await opened(app, pilot, "4")
        table = view.query_one("#runs", Table)
        everything = len(table.rows.order)
        await press(pilot, "/", *"thumbs")
        assert 0 < len(table.rows.order) < everything
        assert all(table.rows.by_key[key].pipeline == "thumbs" for key in table.rows.order)
        await press(pilot, "enter")
        assert app.focused is table
        assert table.rows.filter.text == "thumbs"
        await press(pilot, "escape")
        assert len(table.rows.order) == everything
        await press(pilot, "/", *"thumbs", "escape")
        assert len(table.rows.order) == everything
        assert app.focused is table

    drive(made_up(), body)


def test_a_filter_that_cannot_be_read_is_said_in_words() -> None:
    async def body(app: Console, pilot: Pilot[Any]) -> None:
        view = await opened(app, pilot, "4")
        table = view.query_one("#runs", Table)
        before = list(table.rows.order)
        await press(pilot, "/", *"took:>banana")
        assert not app.notices.all
        await press(pilot, "enter")
        assert "banana" in app.notices.all[-1].text
        assert app.notices.all[-1].look == "bad"
        assert table.rows.order == before

    drive(made_up(), body)


def test_a_filter_that_hides_all_says_so() -> None:
    async def body(app: Console, pilot: Pilot[Any]) -> None:
        await opened(app, pilot, "4")
        await typed(pilot, "/nobody")
        text = as_text(await drawn(app, pilot))
        assert "nothing matches «nobody». 40 hidden by the filter. esc clears it" in text
        await press(pilot, "ctrl+k", "d", "enter", "space", "y")
        assert len(app.screen_stack) == 1

    drive(made_up(), body)


@pytest.mark.parametrize("name", ["lanes-fast", "lanes-slow", "groups"])
def test_a_filter_is_of_the_pane_in_focus(name: str) -> None:
    async def body(app: Console, pilot: Pilot[Any]) -> None:
        view = await opened(app, pilot, "2")
        while app.focused is not view.query_one(f"#{name}", Table):
            await press(pilot, "tab")
        await press(pilot, "/", *"zzz")
        for table in view.query(Table):
            assert (table.rows.filter.text == "zzz") == (table.id == name)
        await press(pilot, "enter")
        assert app.focused is view.query_one(f"#{name}", Table)
        await press(pilot, "escape")
        assert not any(table.rows.filter.text for table in view.query(Table))

    drive(made_up(), body)


def test_a_command_gives_the_focus_back() -> None:
    async def body(app: Console, pilot: Pilot[Any]) -> None:
        view = await opened(app, pilot, "2")
        await press(pilot, "tab", "tab")
        before = app.focused
        assert isinstance(before, Table)
        await typed(pilot, ":ro")
        assert app.focused is before
        await press(pilot, ":", "escape")
        assert app.focused is before
        assert app.screen is view

    drive(made_up(), body)


def test_errors_only() -> None:
    async def body(app: Console, pilot: Pilot[Any]) -> None:
        view = await opened(app, pilot, "4")
        table = view.query_one("#runs", Table)
        everything = len(table.rows.order)
        await press(pilot, "e")
        states = {table.rows.by_key[key].state for key in table.rows.order}
        assert State.ERROR in states
        assert len(table.rows.order) < everything
        await press(pilot, "e")
        assert len(table.rows.order) == everything

    drive(made_up(), body)


def test_errors_only_where_there_are_none_says_how_to_see_all() -> None:
    source = Canned(snapshot(runs=[a_run(id=1)]), answers={"/v1/runs": Page(items=[a_run(id=1)])})

    async def body(app: Console, pilot: Pilot[Any]) -> None:
        await opened(app, pilot, "4")
        await press(pilot, "e")
        lines = await drawn(app, pilot)
        words = next(each for each in lines if "1 hidden" in each and "nothing" in each)
        assert "e shows all" in words
        await press(pilot, "e")
        assert "deploy-web" in as_text(await drawn(app, pilot))

    drive(source, body)


def test_a_frozen_picture_stands_still() -> None:
    source, clock = made_up(), Hand()

    async def body(app: Console, pilot: Pilot[Any]) -> None:
        for key in "145":
            await opened(app, pilot, key)
            clock.ms += 3_000  # What is wrong is looked for once a second.
            await drawn(app, pilot)
            await press(pilot, "f")
            before = await _frozen(app, pilot)
            assert "FROZEN" in before[0]
            clock.ms += 3_000
            source.tell(
                changes(
                    runs=[a_run(id=99_999, pipeline="surprise")],
                    workers=[],
                    workers_gone=["w-01", "w-02"],
                    counts=some_counts(waiting=1),
                )
            )
            await until(pilot, lambda: app.session.store.frame_ms == clock.ms)
            after = await _frozen(app, pilot)
            assert after[1:] == before[1:]
            await press(pilot, "j", "k")
            assert (await _frozen(app, pilot))[1:] == before[1:]
            assert "FROZEN 3" in after[0]
            await press(pilot, "f")
            await drawn(app, pilot)
            assert "FROZEN" not in (await drawn(app, pilot))[0]
        assert 99_999 in app.store.runs

    drive(source, body, now_ms=clock)


def test_what_is_opened_in_a_frozen_picture_is_answered() -> None:
    source = made_up()
    source.answers["/v1/jobs/81190/explain"] = Explanation(reason="because", steps=["first"])
    run = a_run(id=90412)
    source.answers |= {
        "/v1/runs/90412": run,
        "/v1/runs/90412/jobs": Page(items=[a_job(5, "clone-it", "build", ready=-9)]),
    }

    async def body(app: Console, pilot: Pilot[Any]) -> None:
        await opened(app, pilot, "1")
        await press(pilot, "f")
        for show, word in (
            (partial(app.navigation.explain, 81190), "because"),
            (partial(app.navigation.open_run, 90412), "clone-it"),
        ):
            show()
            await until(pilot, partial(_shows, app, word), word)
            await press(pilot, "escape")

    drive(source, body)


def _shows(app: Console, word: str) -> bool:
    app.flush_view()
    return word in as_text(picture(app))


async def _frozen(app: Console, pilot: Pilot[Any]) -> list[str]:
    """What is seen after a few flushes of the timer's."""
    for _ in range(6):
        app.flush_view()
        await rest(pilot)
    return picture(app)


def test_the_menu_of_orders() -> None:
    async def body(app: Console, pilot: Pilot[Any]) -> None:
        view = await opened(app, pilot, "5")
        table = view.query_one("#workers", Table)
        await press(pilot, "o")
        await until(pilot, lambda: isinstance(app.screen, SortMenu))
        await press(pilot, "escape")
        await until(pilot, lambda: app.screen is view)
        await press(pilot, "o", "down", "down", "enter")
        await until(pilot, lambda: app.screen is view)
        chosen = table.rows.sort
        await press(pilot, "o")
        options = app.screen.query_one(OptionList)
        assert any("▸" in str(option.prompt) for option in options.options)
        await press(pilot, "escape")
        assert table.rows.sort == chosen
        await press(pilot, "O")
        assert table.rows.descending
        await press(pilot, "shift+right")
        assert table.rows.sort != chosen
        await press(pilot, "shift+left")
        assert table.rows.sort == chosen

    drive(made_up(), body)


@pytest.mark.parametrize(
    ("command", "view", "table", "key"),
    [
        (":worker w-45", "workers", "workers", "w-45"),
        (":schedule 8", "schedules", "schedules", 8),
        (":partition p9", "partitions", "lanes-slow", 9),
        (":partition 2", "partitions", "lanes-fast", 2),
    ],
)
def test_what_is_named_is_found_in_a_view_that_was_never_open(
    command: str, view: str, table: str, key: int | str
) -> None:
    async def body(app: Console, pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: app.store.frame_ms is not None)
        await typed(pilot, command)
        await until(pilot, lambda: app.current_mode == view and app.screen.is_mounted)

        def is_there() -> bool:
            app.flush_view()
            return app.screen.query_one(f"#{table}", Table).cursor == key

        await until(pilot, is_there, "the cursor")
        if view == "partitions":
            assert app.focused is app.screen.query_one(f"#{table}", Table)

    drive(made_up(), body)


def test_a_lost_link_keeps_the_picture_and_dates_it() -> None:
    source, clock = made_up(), Hand()

    async def body(app: Console, pilot: Pilot[Any]) -> None:
        view = await opened(app, pilot, "5")
        before = list(view.query_one("#workers", Table).rows.order)
        source.lose(Away("cannot reach http://prod:8700: refused"))
        await until(pilot, lambda: app.store.link.state == "lost")
        clock.ms += 14_000
        lines = await drawn(app, pilot)
        assert "lost 14" in lines[0]
        assert "next try" in lines[0]
        assert "STALE 14" in as_text(lines)
        assert view.query_one("#workers", Table).rows.order == before
        app.session.refresh()
        source.tell(snapshot(workers=fleet.workers()))
        await until(pilot, lambda: app.store.link.state == "live")
        assert "STALE" not in as_text(await drawn(app, pilot))

    drive(source, body, now_ms=clock)


def test_an_unknown_theme_and_unknown_keys_are_said() -> None:
    async def body(app: Console, pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: bool(app.notices.all))
        assert "no theme chartreuse" in app.notices.all[0].text
        for text in (
            ":theme",
            ":theme nord",
            ":theme [/x]",
            ":ctx",
            ":ctx x",
            ":",
            ":run x",
            ":q!x",
        ):
            await typed(pilot, text)
        assert app.theme == "nord"
        assert isinstance(app.screen, Framed)

    drive(made_up(), body, theme="chartreuse")


def test_groups_can_be_filtered_by_numbers() -> None:
    groups = [a_group(reason=f"reason {number}", jobs=number * 100) for number in range(1, 9)]
    source = Canned(snapshot(), answers={"/v1/queues": some_queues(*groups)})

    async def body(app: Console, pilot: Pilot[Any]) -> None:
        view = await opened(app, pilot, "2")
        table = view.query_one("#groups", Table)
        await until(pilot, lambda: "queues" in app.store.answers)
        view.set_focus(table)
        await typed(pilot, "/jobs:>300")
        assert len(table.rows.order) == 5

    drive(source, body)
