"""Decides that cursor, marks, and view stay on their objects, and that actions hit no others.

Only a cursor that nobody has put anywhere stays at the top instead.

Rows come, go, and are sorted anew in any mix, also while a question is open.
"""

from collections.abc import Iterator
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textual.widgets import Input

from control.model.states import State
from tests.tui.samples import a_group, a_run, a_worker, at, some_queues
from tests.tui.sources import Canned, Hand, Held, changes, held, press, rest, snapshot, typed, until
from tui.core.store import FetchedAnswer
from tui.screens.confirm import Confirm
from tui.screens.runs import Runs
from tui.screens.workers import Workers
from tui.widgets.table import Table

pytestmark = pytest.mark.slow

_NAMES: Final = [f"w-{number:02d}" for number in range(40)]
_names = st.sampled_from(_NAMES)
_Step = tuple[str, Any]
_news = st.one_of(
    st.tuples(st.just("come"), st.dictionaries(_names, st.integers(1, 9), max_size=30)),
    st.tuples(st.just("go"), st.lists(_names, max_size=12)),
    st.tuples(st.just("flush"), st.booleans()),
)
_hands = st.one_of(
    st.tuples(st.just("key"), st.sampled_from(["j", "k", "g", "G", "d", "u", "O"])),
    st.tuples(st.just("mark"), st.none()),
    st.tuples(st.just("sort"), st.sampled_from(["worker", "slots", "host", "state"])),
    st.tuples(st.just("filter"), st.sampled_from(["", "w-1", "slots:>4", "nobody"])),
    st.tuples(st.just("faults"), st.none()),
)
_steps = st.lists(st.one_of(_news, _news, _hands), min_size=1, max_size=25)


@pytest.fixture(scope="module")
def stage() -> Iterator[Held]:
    """The console, with writes allowed."""
    with held(Canned(snapshot()), Hand()) as console:

        async def begin() -> None:
            await until(console.pilot, lambda: console.app.store.role is not None)
            await typed(console.pilot, ":rw")

        console.do(begin)
        yield console


def _source(stage: Held) -> Canned:
    assert isinstance(stage.app.source, Canned)
    return stage.app.source


def _take(view: Workers, step: _Step) -> None:
    """Something happens."""
    app, (kind, value) = view.console, step
    table = view.query_one("#workers", Table)
    match kind:
        case "come":
            workers = [
                a_worker(
                    name, slots=slots, host=f"n{slots}", silent_since=at(-9) if slots > 7 else None
                )
                for name, slots in value.items()
            ]
            app.store.take(changes(workers=workers), app.now_ms())
        case "go":
            app.store.take(changes(workers_gone=value), app.now_ms())
        case "flush":
            view.flush(order=value)
        case "key":
            {
                "j": table.action_down,
                "k": table.action_up,
                "g": table.action_first,
                "G": table.action_last,
                "d": lambda: table.action_page(1),
                "u": lambda: table.action_page(-1),
                "O": view.action_flip,
            }[value]()
        case "mark":
            view.action_mark()
        case "sort":
            table.rows.sort_by(value)
            view.flush(order=True)
        case "filter":
            table.rows.filter = table.rows.read(value)
            view.flush(order=True)
        case _:
            view.action_faults()


@settings(max_examples=150)
@given(steps=_steps)
def test_cursor_marks_and_view_stay_on_their_objects(stage: Held, steps: list[_Step]) -> None:
    async def body() -> None:
        app = stage.app
        app.navigation.open_view("workers")
        await until(stage.pilot, lambda: isinstance(app.screen, Workers) and app.screen.is_mounted)
        view = app.screen
        assert isinstance(view, Workers)
        app.store.take(snapshot(workers=[a_worker(name) for name in _NAMES[:20]]), app.now_ms())
        table = view.query_one("#workers", Table)
        table.rows.filter, table.rows.only_faults = table.rows.read(""), False
        table.marks.clear()
        view.flush(order=True)
        for step in steps:
            cursor, marks, pointed = table.cursor, set(table.marks), bool(table.rows.order)
            y, follows = table._at - table._top, table.follows  # noqa: SLF001
            _take(view, step)
            _check(view, table)
            if step[0] in {"come", "go", "flush", "sort", "filter", "faults"}:
                assert table.follows == (follows or step[0] == "faults")
                if table.follows:
                    assert table.cursor == next(iter(table.rows.order), table.cursor)
                    assert table._top == 0  # noqa: SLF001
                elif cursor in table.rows.order:
                    assert table.cursor == cursor
                    _check_eye(table, y)
                assert table.marks == {key for key in marks if key in table.rows.by_key}
            elif step[0] == "key":
                assert table.marks == marks
                assert table.follows == (step[1] in {"g", "O"} or (follows and not pointed))
            else:
                turned = {cursor} if pointed else set()
                assert table.marks == (marks ^ turned) & table.rows.by_key.keys()

    stage.do(body)


def _check(view: Workers, table: Table[Any]) -> None:
    """What is drawn and what actions are about are the same."""
    order = table.rows.order
    at, top = table._at, table._top  # noqa: SLF001
    if order:
        assert order[at] == table.cursor
        assert top <= at < top + table._room  # noqa: SLF001
    shown_marks = [key for key in order if key in table.marks]
    named = [thing.id for thing in view.things("drain")]
    if table.marks:
        assert named == shown_marks
    else:
        assert named == ([table.cursor] if order else [])


def _check_eye(table: Table[Any], y: int) -> None:
    """The cursor's object is in the same line as before, unless the list is too short for it."""
    last_top = max(len(table.rows.order) - table._room, 0)  # noqa: SLF001
    wanted = table._at - y  # noqa: SLF001
    assert table._top == min(max(wanted, 0), last_top)  # noqa: SLF001


@settings(max_examples=60)
@given(
    marked=st.lists(st.integers(1, 30), max_size=14, unique=True),
    before=st.integers(0, 29),
    meanwhile=st.lists(
        st.one_of(
            st.tuples(st.just("end"), st.integers(1, 30)),
            st.tuples(st.just("new"), st.integers(31, 60)),
            st.tuples(st.just("cursor"), st.integers(0, 40)),
            st.tuples(st.just("sort"), st.sampled_from(["run", "client", "pipeline", "state"])),
            st.tuples(st.just("unmark"), st.none()),
            st.tuples(st.just("flush"), st.booleans()),
        ),
        max_size=8,
    ),
    answer=st.sampled_from(["yes", "no", "wrong"]),
)
def test_what_the_question_names_is_what_is_done(
    stage: Held,
    marked: list[int],
    before: int,
    meanwhile: list[_Step],
    answer: str,
) -> None:
    app, pilot, source = stage.app, stage.pilot, _source(stage)

    async def body() -> None:
        source.sent.clear()
        app.store.runs.clear()
        runs = [a_run(id=number, pipeline=f"p{number * 7 % 30}") for number in range(1, 31)]
        app.store.take(snapshot(runs=runs), app.now_ms())
        app.navigation.open_view("runs")
        await until(pilot, lambda: isinstance(app.screen, Runs) and app.screen.is_mounted)
        view = app.screen
        assert isinstance(view, Runs)
        table = view.query_one("#runs", Table)
        view.flush(order=True)
        table._go(before)  # noqa: SLF001
        table.marks = set(marked)
        view.flush(order=False)
        wanted = {int(key) for key in table.chosen()}
        await press(pilot, "ctrl+k")
        asked = app.screen
        assert isinstance(asked, Confirm)
        orders = list(asked._orders)  # noqa: SLF001
        assert (
            {each.thing.id for each in orders} == wanted == set(marked or [int(str(table.cursor))])
        )
        for kind, value in meanwhile:
            _meanwhile(view, table, kind, value)
        await rest(pilot)
        await _answer(stage, len(orders), answer)
        await until(pilot, lambda: app.screen is view, "the question is gone")
        done = orders if answer == "yes" else []
        await until(pilot, lambda: len(source.sent) >= len(done), "all is sent")
        await rest(pilot)
        assert source.sent == [(each.method, each.path, each.body) for each in done]
        assert {path for _, path, _ in source.sent} == {
            f"/v1/runs/{number}/cancel" for number in (wanted if done else ())
        }

    stage.do(body)


def _meanwhile(view: Runs, table: Table[Any], kind: str, value: Any) -> None:  # noqa: ANN401
    console = view.console
    match kind:
        case "end":
            console.store.put_run(a_run(id=value, state=State.DONE))
        case "new":
            console.store.put_run(a_run(id=value))
        case "cursor":
            table._go(value)  # noqa: SLF001
        case "sort":
            table.rows.sort_by(value)
            view.flush(order=True)
        case "unmark":
            table.marks.clear()
        case _:
            view.flush(order=value)


async def _answer(stage: Held, count: int, answer: str) -> None:
    pilot, asked = stage.pilot, stage.app.screen
    if answer == "wrong":
        if count > 1:
            await press(pilot, *str(count + 1), "enter")
            assert stage.app.screen is asked
            assert asked.query_one(Input).value == ""
            await press(pilot, "enter", "y", "enter")
            assert stage.app.screen is asked
        await press(pilot, "escape")
    elif answer == "no":
        await press(pilot, "escape")
    elif count > 1:
        await press(pilot, *str(count), "enter")
    else:
        await press(pilot, "y")


def test_groups_of_one_run_are_one_order(stage: Held) -> None:
    app, pilot, source = stage.app, stage.pilot, _source(stage)

    async def body() -> None:
        source.sent.clear()
        groups = [a_group(reason=f"no free slot {number}") for number in range(3)]
        app.store.answers["queues"] = FetchedAnswer(value=some_queues(*groups))
        app.navigation.open_view("partitions")
        await until(pilot, lambda: app.screen.is_mounted and bool(app.screen.query("#groups")))
        table = app.screen.query_one("#groups", Table)
        table.focus()
        await rest(pilot)
        app.store.answers["queues"] = FetchedAnswer(value=some_queues(*groups))
        app.screen.flush(order=True)  # type: ignore[attr-defined]
        table.marks = set(table.rows.order)
        await press(pilot, "ctrl+k")
        assert isinstance(app.screen, Confirm)
        assert len(app.screen._orders) == 1  # noqa: SLF001
        await press(pilot, "y")
        await until(pilot, lambda: len(source.sent) == 1)
        assert source.sent[0][1] == "/v1/runs/90407/cancel"

    stage.do(body)
