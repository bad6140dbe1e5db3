"""Decides that nothing a server sends crashes the console, or is a command to the terminal.

Every view, text, dialog, and log is drawn with the worst there is in every field.
"""

import asyncio
import itertools
import unicodedata
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
from control.model.explanation import Explanation
from control.model.fleet import PartitionWithJobs
from control.model.live import Note
from control.model.reports import SlowAttempt, TaskDetail
from control.model.views import Page
from tests.tui import hostile_shapes as shapes
from tests.tui.hostile import seconds, texts, times
from tests.tui.samples import a_job, a_run
from tests.tui.sources import (
    Canned,
    Hand,
    Held,
    changes,
    drawn,
    drive,
    held,
    picture,
    press,
    rest,
    snapshot,
    typed,
    until,
)
from tui.app import Console
from tui.core.commands import VIEWS
from tui.core.store import Answer
from tui.screens.framed import Framed
from tui.screens.logs import LogFeed
from tui.screens.run import RunDetail
from tui.widgets.box import Box
from tui.widgets.reader import Reader
from tui.widgets.table import Table

_WORST: Final = (
    "[/x] [b] [/ \\[ \x1b]0;x\x07\x1b[31m\x9b1m\x85\u202e\u2066\u200f\u061c\ud800語e\u0301\n\t\r"
)
_TEXT: Final = _WORST.replace("\ud800", "")  # No JSON with half a character is ever decoded.
_LITERAL: Final = {"state", "kind", "speed"}  # Only known words get through the decoder.
_FORBIDDEN: Final = {"Cc", "Cs", "Zl", "Zp"}
_TURNING: Final = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_SIZES: Final = ((120, 36), (80, 24))


def check(app: Console) -> None:
    """Nothing on the screen is a command to the terminal, and each box has its frame."""
    lines = picture(app)
    for text in lines:
        signs = set(text)
        assert not {unicodedata.category(sign) for sign in signs} & _FORBIDDEN, repr(text)
        assert not signs & _TURNING, repr(text)
    for box in app.screen.query(Box):
        if box.framed and box.display and box.region.height > 1 and box.region.width > 1:
            _check_frame(app, box)


def _check_frame(app: Console, box: Box) -> None:
    """Its corners and sides are where they belong, whatever the cells between them hold."""
    strips = app.screen._compositor.render_strips(app.size)  # noqa: SLF001
    area = box.region
    if (
        not app.screen.region.contains_region(area)
        or area != app.screen.find_widget(box).visible_region
    ):
        return
    for y in range(area.y, area.bottom):
        left = strips[y].crop(area.x, area.x + 1).text
        right = strips[y].crop(area.right - 1, area.right).text
        first, last = y == area.y, y == area.bottom - 1
        assert left == ("╭" if first else "╰" if last else "│"), (box, y)
        assert right == ("╮" if first else "╯" if last else "│"), (box, y)


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
        store.answers[key] = Answer(value=value, problem=things["text"])


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
            "planned": draw(_page(shapes.plans)),
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
        app.open_view(name)
        await _checked(app, pilot)
        for table in app.screen.query(Table):
            if table.focusable and table.display:
                app.screen.set_focus(table)
                await press(pilot, "j", "w")
                await _checked(app, pilot)
                await press(pilot, "d")
                await _checked(app, pilot)
                await press(pilot, "escape")
                await press(pilot, "ctrl+k", "ctrl+t")
                await rest(pilot)
                check(app)
                while not isinstance(app.screen, Framed):
                    await press(pilot, "escape")
    app.flash(_WORST, "bad", _WORST)
    app.open_run(1)
    await _checked(app, pilot)
    for _ in range(5):
        await press(pilot, "t")
        await _checked(app, pilot)
    await press(pilot, "v", "?")
    await _checked(app, pilot)
    await press(pilot, "escape", "escape")
    await typed(pilot, ":msg")
    await _checked(app, pilot)
    await press(pilot, "escape")


async def _checked(app: Console, pilot: Any) -> None:  # noqa: ANN401 - Textual's pilots are generic.
    await until(pilot, lambda: app.screen.is_mounted)
    await drawn(app, pilot)
    check(app)


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
        "planned": Page(items=made_tasks.planned()),
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
        app.open_view("overview")
        await _checked(app, pilot)
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
            await _checked(app, pilot)
            await press(pilot, "escape", "escape")

    stage.do(body)


_LOG: Final = (
    _WORST.encode("utf-8", "surrogatepass")
    + b"\n\xff\xfe broken \xe6\x97\n"
    + b"x" * 100_000
    + b"\n\x1b[31mred\x1b[0m\r\n"
    + "語".encode() * 40_000
    + b"\n\x1b]0;title"
)
_Pieces = list[bytes]


def _read(pieces: _Pieces) -> list[str]:
    """The lines that a log in these pieces has."""
    source = Canned()
    source.pieces = pieces
    feed = LogFeed(source, 1, 1)
    asyncio.run(feed.run())
    return ["".join(text for text, _ in line) for line in feed.take()]


def _cut(data: bytes, places: list[int]) -> _Pieces:
    ends = sorted({min(place, len(data)) for place in places} | {len(data)})
    return [data[begin:end] for begin, end in itertools.pairwise([0, *ends])]


_PLACES = st.lists(st.one_of(st.integers(0, 120), st.integers(0, len(_LOG))), max_size=30)


@settings(max_examples=40)
@given(places=_PLACES)
def test_a_log_is_the_same_in_any_pieces(places: list[int]) -> None:
    whole = _read([_LOG])
    assert _read(_cut(_LOG, places)) == whole
    assert any("broken" in line for line in whole)
    assert len(max(whole, key=len)) < 3_000
    for text in whole:
        assert not {unicodedata.category(sign) for sign in set(text)} & _FORBIDDEN
        assert not set(text) & _TURNING


@settings(max_examples=60)
@given(data=st.binary(max_size=60), places=_PLACES)
def test_any_bytes_are_a_log(data: bytes, places: list[int]) -> None:
    whole = _read([data])
    assert _read(_cut(data, places)) == whole
    for text in whole:
        assert not {unicodedata.category(sign) for sign in set(text)} & _FORBIDDEN


def test_the_end_of_a_log_without_a_newline_is_shown() -> None:
    assert [text.strip() for text in _read([b"one\ntw", b"o\xe6"])] == ["one", "two\ufffd"]
    assert [text.strip() for text in _read([b"one\n", b"\xe6"])] == ["one", "\ufffd"]


def test_a_hostile_log_on_the_screen() -> None:
    source = Canned(snapshot(runs=[a_run(id=1)]))
    source.pieces = _cut(_LOG, [3, 17, 40, 41, 42, 90_000])
    job = a_job(7, "unit", "build", started=-3, run_id=1)
    source.answers = {
        "/v1/runs/1": a_run(id=1),
        "/v1/runs/1/jobs": Page(items=[job]),
        "/v1/jobs/7": job,
    }

    async def body(app: Console, pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: app.store.role is not None)
        app.open_run(1)
        await until(pilot, lambda: isinstance(app.screen, RunDetail) and app.screen.is_mounted)

        def has_come() -> bool:
            app.flush_view()
            return len(app.screen.query_one(Reader).lines) >= len(_read_lines)

        _read_lines = ["one", "two", "three", "four", "five"]
        await until(pilot, has_come, "the log")
        await press(pilot, "l", "w")
        await _checked(app, pilot)
        await press(pilot, "w", "g", "j", "G", "k", "m", "ctrl+u", "F")
        await _checked(app, pilot)
        await typed(pilot, "/x")
        await press(pilot, "n", "N")
        await _checked(app, pilot)

    drive(source, body)


def test_frames_that_nobody_can_read_end_nothing() -> None:
    source = Canned(snapshot(time="\x1b[2J soon"), changes(time="9999-12-31T23:59:59.999Z"))

    async def body(app: Console, pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: app.store.frame_ms is not None)
        await _checked(app, pilot)
        for raw in (b"\xff\xfe", b"[" * 100_000, b"{}", b'{"seq": "\\ud800"}', b""):
            source.tell(raw)
            await until(pilot, lambda: app.store.link.state == "refused", repr(raw[:9]))
            assert "does not understand" in app.store.link.why
            await _checked(app, pilot)
            app.session.refresh()
            source.tell(snapshot())
            await until(pilot, lambda: app.store.link.state == "live")

    drive(source, body)
