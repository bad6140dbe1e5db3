"""Decides that nothing a server sends crashes the console, or is a command to the terminal.

Every view, text, dialog, and log is drawn with the worst there is in every field.
"""

from collections.abc import Iterator
from typing import Any, Final

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from textual.pilot import Pilot
from textual.widgets import OptionList

from bench.shots import fleet, lately
from bench.shots import runs as made_runs
from bench.shots import tasks as made_tasks
from control.model.api.explanation import Explanation
from control.model.api.fleet import PartitionWithJobs
from control.model.api.live import Note
from control.model.api.reports import SlowAttempt, TaskDetail
from control.model.api.views import Page
from tests.tui import hostile_shapes as shapes
from tests.tui.hostile import seconds, texts, times
from tests.tui.sources import (
    Canned,
    Hand,
    Held,
    changes,
    drive,
    held,
    press,
    rest,
    snapshot,
    typed,
    until,
)
from tests.tui.worst import WORST, check, checked
from tui.app import Console
from tui.core.commands import VIEWS
from tui.core.store import FetchedAnswer
from tui.screens.screen_frame import Framed
from tui.widgets.table import Table

pytestmark = pytest.mark.slow

_TEXT: Final = WORST.replace("\ud800", "")  # No JSON with half a character is ever decoded.
_LITERAL: Final = {"state", "kind", "speed"}  # Only known words get through the decoder.
_SIZES: Final = ((120, 36), (80, 24))


_notes = st.builds(
    Note,
    at=times,
    kind=st.sampled_from(["job_failed", "worker_left"]),
    text=texts,
    pipeline=texts,
    job=texts,
    job_id=st.one_of(st.none(), shapes.ids),
    worker=texts,
)
_attempts = st.builds(
    SlowAttempt,
    job_id=shapes.ids,
    run_id=shapes.ids,
    attempt=shapes.ids,
    client=texts,
    worker=texts,
    outcome=shapes.outcomes,
    finished_at=times,
    duration_seconds=seconds,
    wait_seconds=seconds,
)


def _fill(app: Console, things: dict[str, Any]) -> None:
    """Have the store hold these."""
    store = app.store
    store.runs.clear()
    store.jobs.clear()
    for run in things["runs"]:
        store.put_run(run)
    for job in things["jobs"]:
        store.put_job(job)
    store.workers = {each.id: each for each in things["workers"]}
    store.partitions = {each.partition: each for each in things["partitions"]}
    store.counts = things["counts"]
    store.pulses, store.notes = things["pulses"], things["notes"]
    store.client_id = store.server_version = things["text"]
    for key, value in things["answers"].items():
        store.answers[key] = FetchedAnswer(value=value, problem=things["text"])


def _page(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return shapes.several(strategy).map(lambda items: Page(items=items))


@st.composite
def _systems(draw: st.DrawFn) -> dict[str, Any]:
    """Everything that a server may tell."""
    run, jobs = draw(shapes.runs_with_jobs())
    run = msgspec.structs.replace(run, id=1)
    jobs = [msgspec.structs.replace(job, run_id=1) for job in jobs]
    tasks = draw(shapes.several(shapes.tasks))
    detail: TaskDetail = draw(shapes.details)
    if tasks:
        detail = msgspec.structs.replace(detail, pipeline=tasks[0].pipeline, job=tasks[0].job)
    slowest = tuple(draw(shapes.several(_attempts)))
    lane = draw(shapes.partitions)
    with_jobs = {name: getattr(lane, name) for name in lane.__struct_fields__}
    told = st.builds(Explanation, reason=texts, steps=shapes.several(texts))
    return {
        "runs": [run, *draw(shapes.several(shapes.runs))],
        "jobs": jobs,
        "workers": draw(shapes.several(shapes.workers)),
        "partitions": [*draw(shapes.several(shapes.partitions)), lane],
        "counts": draw(shapes.totals),
        "pulses": draw(shapes.several(shapes.pulses)),
        "notes": draw(shapes.several(_notes)),
        "text": draw(texts),
        "answers": {
            "queues": draw(shapes.queues),
            "summary": draw(shapes.summaries),
            "tasks": Page(items=tasks),
            "recent_tasks": Page(items=tasks),
            "task": msgspec.structs.replace(detail, slowest=slowest),
            "schedules": draw(_page(shapes.schedules)),
            "plan": draw(_page(shapes.plans)),
            "forecast": draw(shapes.forecasts),
            "partition": PartitionWithJobs(**with_jobs, jobs=draw(shapes.several(shapes.running))),
            "history": draw(_page(shapes.attempts)),
            "explanation": draw(told),
            "recent": draw(_page(shapes.runs)),
        },
    }


@pytest.fixture(scope="module", params=_SIZES, ids=["wide", "small"])
def stage(request: pytest.FixtureRequest) -> Iterator[Held]:
    """A console whose source says nothing more after its snapshot."""
    source = Canned(snapshot())
    source.silent = True
    with held(source, Hand(), request.param) as console:

        async def begin() -> None:
            await until(console.pilot, lambda: console.app.store.role is not None)
            await typed(console.pilot, ":rw")

        console.do(begin)
        yield console


async def _look_everywhere(app: Console, held: Held) -> None:
    """All views; what can be opened from them; the palette, and the messages."""
    pilot = held.pilot
    for name in VIEWS:
        app.navigation.open_view(name)
        await checked(app, pilot)
        for table in app.screen.query(Table):
            if table.focusable and table.display:
                app.screen.set_focus(table)
                await press(pilot, "j", "w")
                await checked(app, pilot)
                await press(pilot, "d")
                await checked(app, pilot)
                await press(pilot, "escape")
                await press(pilot, "ctrl+k", "ctrl+t")
                await rest(pilot)
                check(app)
                while not isinstance(app.screen, Framed):
                    await press(pilot, "escape")
    app.flash(WORST, "bad", WORST)
    app.navigation.open_run(1)
    await checked(app, pilot)
    for _ in range(5):
        await press(pilot, "t")
        await checked(app, pilot)
    await press(pilot, "v", "?")
    await checked(app, pilot)
    await press(pilot, "escape", "escape")
    await typed(pilot, ":msg")
    await checked(app, pilot)
    await press(pilot, "escape")


@settings(max_examples=4, suppress_health_check=list(HealthCheck))
@given(things=_systems())
def test_no_view_can_be_broken(stage: Held, things: dict[str, Any]) -> None:
    async def body() -> None:
        _fill(stage.app, things)
        await _look_everywhere(stage.app, stage)

    stage.do(body)


def _worst_of(value: Any) -> Any:  # noqa: ANN401 - whatever a struct has.
    """The same with the worst text in every field that may hold any text."""
    if type(value) is str:
        return _TEXT
    if isinstance(value, list | tuple):
        return type(value)(_worst_of(each) for each in value)
    if isinstance(value, msgspec.Struct):
        given = {
            name: _worst_of(getattr(value, name))
            for name in value.__struct_fields__
            if name not in _LITERAL
        }
        return msgspec.structs.replace(value, **given)
    return value


def _all_worst() -> dict[str, Any]:
    """The made-up system of the pictures, with nothing but the worst text in it."""
    tasks_ = made_tasks.task_stats()
    answers = {
        "queues": fleet.queues(),
        "summary": made_tasks.summary(),
        "tasks": Page(items=tasks_),
        "recent_tasks": Page(items=tasks_),
        "task": made_tasks.task_detail(),
        "schedules": Page(items=made_tasks.schedules()),
        "plan": Page(items=made_tasks.plans(1_800)),
        "forecast": made_tasks.forecast(),
        "partition": fleet.partition_with_jobs(0),
        "history": Page(items=lately.history()),
        "explanation": Explanation(reason="", steps=["", ""]),
        "recent": Page(items=made_runs.runs()[:9]),
    }
    jobs = [msgspec.structs.replace(job, run_id=1) for job in made_runs.jobs()]
    first = msgspec.structs.replace(made_runs.runs()[1], id=1)
    return {
        "runs": _worst_of([first, *made_runs.runs()]),
        "jobs": _worst_of(jobs),
        "workers": _worst_of(fleet.workers()),
        "partitions": _worst_of(fleet.partitions()),
        "counts": fleet.counts(),
        "pulses": lately.pulses(),
        "notes": _worst_of(lately.notes()),
        "text": _TEXT,
        "answers": {key: _worst_of(value) for key, value in answers.items()},
    }


def test_the_worst_text_everywhere(stage: Held) -> None:
    async def body() -> None:
        _fill(stage.app, _all_worst())
        await _look_everywhere(stage.app, stage)

    stage.do(body)


def test_the_palette_and_what_is_offered(stage: Held) -> None:
    async def body() -> None:
        app, pilot = stage.app, stage.pilot
        _fill(app, _all_worst())
        app.navigation.open_view("overview")
        await checked(app, pilot)
        for word in ("run", "worker", "schedule"):
            await press(pilot, "ctrl+p", *word)
            await until(pilot, lambda: bool(app.screen.query_one(OptionList).options))
            await rest(pilot)
            check(app)
            await press(pilot, "escape", "escape")
            await until(pilot, lambda: isinstance(app.screen, Framed))
        for text in (":runs [", ":worker [", "/[/x] [b]"):
            await press(pilot, *text)
            await rest(pilot)
            check(app)
            await press(pilot, "right", "enter")
            await checked(app, pilot)
            await press(pilot, "escape", "escape")

    stage.do(body)


def test_frames_that_nobody_can_read_end_nothing() -> None:
    source = Canned(snapshot(time="\x1b[2J soon"), changes(time="9999-12-31T23:59:59.999Z"))

    async def body(app: Console, pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: app.store.frame_ms is not None)
        await checked(app, pilot)
        for raw in (b"\xff\xfe", b"[" * 100_000, b"{}", b'{"seq": "\\ud800"}', b""):
            source.tell(raw)
            await until(pilot, lambda: app.store.link.state == "refused", repr(raw[:9]))
            assert "does not understand" in app.store.link.why
            await checked(app, pilot)
            app.session.refresh()
            source.tell(snapshot())
            await until(pilot, lambda: app.store.link.state == "live")

    drive(source, body)
