"""Decides that lists show what is new: at their top until a row is chosen, or how much is above."""

from typing import Any

import pytest
from textual.pilot import Pilot

from control.model.api.views import Page
from control.model.states import State
from tests.tui.made_up import as_text, made_up, opened
from tests.tui.samples import a_run, a_task, a_worker
from tests.tui.sources import Canned, changes, drawn, drive, press, snapshot, until
from tui.app import Console
from tui.core.store import FetchedAnswer
from tui.core.tables.rows import TableColumn, TableRows
from tui.widgets.table import Table


def _begun() -> Canned:
    return Canned(snapshot(runs=[a_run(id=number) for number in range(1, 61)]))


async def _tell(app: Console, pilot: Pilot[Any], *numbers: int) -> None:
    source = app.source
    assert isinstance(source, Canned)
    source.tell(changes(runs=[a_run(id=number) for number in numbers]))
    await until(pilot, lambda: numbers[-1] in app.session.store.runs)
    await drawn(app, pilot)


def test_a_list_of_which_no_row_was_chosen_shows_what_is_new() -> None:
    async def body(app: Console, pilot: Pilot[Any]) -> None:
        view = await opened(app, pilot, "4")
        table = view.query_one("#runs", Table)
        assert table.cursor == 60
        await _tell(app, pilot, *range(61, 101))
        assert table.cursor == 100
        assert table.in_view(0)[:1] == []
        assert "above" not in as_text(await drawn(app, pilot))
        await press(pilot, "1", "4")
        await _tell(app, pilot, 101)
        assert table.cursor == 101

    drive(_begun(), body)


def test_a_chosen_row_stays_and_the_frame_says_how_much_is_above() -> None:
    async def body(app: Console, pilot: Pilot[Any]) -> None:
        view = await opened(app, pilot, "4")
        table = view.query_one("#runs", Table)
        await press(pilot, "j", "k")
        await _tell(app, pilot, *range(61, 101))
        assert table.cursor == 60
        assert "↑ 40 above, g" in as_text(await drawn(app, pilot))
        await press(pilot, "g")
        assert table.cursor == 100
        assert "above" not in as_text(await drawn(app, pilot))
        await _tell(app, pilot, 101)
        assert table.cursor == 101

    drive(_begun(), body)


@pytest.mark.parametrize("key", ["enter", "space"])
def test_a_row_that_was_opened_or_marked_is_chosen(key: str) -> None:
    async def body(app: Console, pilot: Pilot[Any]) -> None:
        view = await opened(app, pilot, "4")
        table = view.query_one("#runs", Table)
        await press(pilot, key, "escape")
        cursor = table.cursor
        await _tell(app, pilot, 61)
        assert table.cursor == cursor

    drive(_begun(), body)


@pytest.mark.parametrize("key", ["e", "O"])
def test_another_choice_of_rows_or_another_order_begins_at_the_top(key: str) -> None:
    runs = [a_run(id=n, state=State.ERROR if n < 20 else State.DONE) for n in range(1, 61)]

    async def body(app: Console, pilot: Pilot[Any]) -> None:
        view = await opened(app, pilot, "4")
        table = view.query_one("#runs", Table)
        await press(pilot, "ctrl+d", key)
        assert table.cursor == table.rows.order[0]

    drive(Canned(snapshot(runs=runs)), body)


def test_rows_that_wait_for_the_next_order_are_not_hidden() -> None:
    rows = TableRows[str]([TableColumn("X", 0, str, field="x")], sort="x")
    rows.arrange({1: "a"})
    rows.refreshed({1: "a", 2: "b"})
    assert rows.hidden == 0
    rows.filter = rows.read("a")
    rows.arrange({1: "a", 2: "b"})
    assert rows.hidden == 1
    rows.refreshed({1: "a", 2: "b", 3: "a"})
    assert rows.hidden == 1
    rows.refreshed({1: "a"})
    assert rows.hidden == 0


def test_the_first_rows_are_shown_at_once() -> None:
    async def body(app: Console, pilot: Pilot[Any]) -> None:
        view = await opened(app, pilot, "5")
        table = view.query_one("#workers", Table)
        table.update({}, order=True)
        table.update({"w": a_worker("w")}, order=False)
        assert table.rows.order == ["w"]
        assert "nothing is wrong" not in as_text(await drawn(app, pilot))

    drive(made_up(), body)


def test_an_answer_that_comes_between_two_orders_is_shown() -> None:
    source = made_up()

    async def body(app: Console, pilot: Pilot[Any]) -> None:
        view = await opened(app, pilot, "3")
        table = view.query_one("#tasks", Table)
        assert not table.rows.order
        app.session.store.answers["tasks"] = FetchedAnswer(value=Page(items=[a_task()]))
        view.flush(order=False)
        assert len(table.rows.order) == 1

    drive(source, body)
