"""Keys that arrive at once, typed ahead or pasted, never reach what is not meant by them."""

from pathlib import Path
from typing import Any, Final

import pytest
from textual.command import CommandPalette
from textual.pilot import Pilot
from textual.widgets import Input, OptionList

from tests.tui.sources import Obedient, burst, drive, picture, press, rest, until
from tui.app import Console
from tui.screens.base_view import View
from tui.screens.confirm import Confirm
from tui.screens.runs import Runs
from tui.screens.sorting import SortMenu
from tui.widgets.prompt import Prompt
from tui.widgets.table import Table

pytestmark = pytest.mark.slow

# Each letter of these is a key that does something on a list of runs.
WORDS: Final = ("rxdRs", "jkgGq", "yyyyy", "lwzpn", "nightly", "acme", "1234", "qqq", "R y", "ctrl")
PROMPTS: Final = ("colon", "slash", "ctrl+p")


async def runs_open(app: Console, pilot: Pilot[Any]) -> Table[Any]:
    await until(pilot, lambda: app.store.runs)
    app.writes_until_ms = None
    await press(pilot, "4", "escape", "escape")
    await until(pilot, lambda: isinstance(app.screen, Runs) and app.screen.is_mounted)
    assert isinstance(app.screen, View)
    app.screen.flush(order=True)
    table = app.screen.query_one("#runs", Table)
    table.focus()
    await rest(pilot)
    return table


def stands(app: Console) -> tuple[object, ...]:
    """What keys that go astray would change, the cursor first."""
    table = app.screen_stack[0].query_one("#runs", Table)
    return table.cursor, set(table.marks), table.rows.sort, app.may_write, app.current_mode


async def until_typed(app: Console, pilot: Pilot[Any], text: str) -> None:
    def there() -> bool:
        return isinstance(app.focused, Input) and app.focused.value == text

    await until(pilot, there, f"{text!r} in the line that is typed in")


@pytest.mark.parametrize("prompt", PROMPTS)
def test_what_is_typed_behind_a_prompts_key_is_the_prompts(recording: Path, prompt: str) -> None:
    source = Obedient(recording)
    slash = prompt == "slash"  # The cursor follows a filter while it is typed.

    async def body(app: Console, pilot: Pilot[Any]) -> None:
        await runs_open(app, pilot)
        for word in WORDS:
            before = stands(app)[slash:]
            burst(pilot, prompt, *word)
            await until_typed(app, pilot, word)
            assert isinstance(app.screen, CommandPalette) == (prompt == "ctrl+p")
            assert stands(app)[slash:] == before
            burst(pilot, "escape", "escape")
            await until(
                pilot, lambda: isinstance(app.focused, Table), "the list has the keys again"
            )
            assert stands(app)[slash:] == before
        assert source.sent == []

    drive(source, body, now_ms=source.now_ms)


def test_a_command_and_what_follows_it_arrive_in_order(recording: Path) -> None:
    source = Obedient(recording)

    async def body(app: Console, pilot: Pilot[Any]) -> None:
        table = await runs_open(app, pilot)
        for _ in range(10):
            burst(pilot, "g", "colon", *"rw", "enter", "j", "j")
            await until(pilot, lambda: app.may_write and not table.marks, ":rw")
            await until(pilot, lambda: table.cursor == table.rows.order[2], "two rows down")
            burst(pilot, "colon", *"ro", "enter", "k")
            await until(pilot, lambda: not app.may_write, ":ro")
            await until(pilot, lambda: table.cursor == table.rows.order[1], "one row up")
            burst(pilot, "slash", *"nightly", "enter", "g", "j")
            await until(pilot, lambda: table.cursor == table.rows.order[1], "in the filtered list")
            burst(pilot, "escape")
            await rest(pilot)
        assert source.sent == []

    drive(source, body, now_ms=source.now_ms)


@pytest.mark.parametrize(
    "answer", [("y",), ("enter",), ("y", "enter"), ("1", "enter"), ("2", "enter")]
)
@pytest.mark.parametrize("marked", [0, 2])
def test_no_question_is_answered_by_what_was_typed_before_it(
    recording: Path, marked: int, answer: tuple[str, ...]
) -> None:
    source = Obedient(recording)

    async def body(app: Console, pilot: Pilot[Any]) -> None:
        table = await runs_open(app, pilot)
        for _ in range(2):
            marks = ("space", "j") * marked
            burst(pilot, "g", "colon", *"rw", "enter", *marks, "ctrl+k", *answer)
            await until(pilot, lambda: isinstance(app.screen, Confirm), "the question")
            await rest(pilot)
            assert isinstance(app.screen, Confirm)
            assert source.sent == []
            for field in app.screen.query(Input):
                assert field.value == ""
            await press(pilot, "escape")
            await until(pilot, lambda: isinstance(app.screen, Runs), "the question is gone")
            table.marks.clear()
        assert source.sent == []

    drive(source, body, now_ms=source.now_ms)


def test_enter_is_no_answer_and_y_is_one(recording: Path) -> None:
    source = Obedient(recording)

    async def body(app: Console, pilot: Pilot[Any]) -> None:
        await runs_open(app, pilot)
        await press(pilot, "g", "colon", *"rw", "enter", "ctrl+k")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        await press(pilot, "enter", "space", "enter")
        assert isinstance(app.screen, Confirm)
        assert source.sent == []
        assert "y: yes" in "".join(picture(app))
        await press(pilot, "y")
        await until(pilot, lambda: len(source.sent) == 1)

    drive(source, body, now_ms=source.now_ms)


def test_a_menu_and_what_is_typed_behind_its_key(recording: Path) -> None:
    source = Obedient(recording)

    async def body(app: Console, pilot: Pilot[Any]) -> None:
        table = await runs_open(app, pilot)
        for _ in range(10):
            await rest(pilot)
            before = table.cursor
            burst(pilot, "o", "down", "down")
            await until(
                pilot, lambda: isinstance(app.screen, SortMenu) and app.screen.query(OptionList)
            )
            menu = app.screen.query_one(OptionList)
            await until(pilot, lambda: menu.highlighted == 2, "two options down")  # noqa: B023
            assert table.cursor == before
            burst(pilot, "escape", "j")
            await until(pilot, lambda: isinstance(app.focused, Table))
            await until(pilot, lambda: table.cursor is not None)
        assert source.sent == []

    drive(source, body, now_ms=source.now_ms)


def test_views_and_their_keys_arrive_in_order(recording: Path) -> None:
    source = Obedient(recording)

    async def body(app: Console, pilot: Pilot[Any]) -> None:
        await runs_open(app, pilot)
        for name, key in (("partitions", "2"), ("slow", "3"), ("runs", "4"), ("workers", "5")) * 3:
            burst(pilot, key, "slash", *"abc")
            await until_typed(app, pilot, "abc")
            assert (app.current_mode, type(app.focused)) == (name, Prompt)
            burst(pilot, "escape")
            await until(pilot, lambda: not isinstance(app.focused, Prompt))

    drive(source, body, now_ms=source.now_ms)
