"""Checks what is read of planned runs: when they are due, whose they are, how much at a time."""

import re

import msgspec
import pytest

from control.model.pipelines import ScheduleSpec
from control.transactions import replace_schedules
from store import catalog, schedules
from store.queries import Statements
from store.schedules import PlannedTimes
from tests.store.world import NOW_MS, World, pipeline


def stored(world: World, name: str, client: str, *due: list[int]) -> int:
    """A pipeline with a schedule for each of these lists of due times; gives its revision."""
    definition = pipeline(name)
    revision = catalog.put(world.conn, definition, client, now_ms=NOW_MS).revision_id
    specs = [ScheduleSpec(cron=f"{n} * * * *", input=msgspec.Raw(b"{}")) for n in range(len(due))]
    replace_schedules.sync(world.conn, name, specs, now_ms=NOW_MS)
    made = schedules.listing(world.conn, after=0, limit=10, pipeline=name)
    for schedule, times in zip(made, due, strict=True):
        rows = [(at_ms, at_ms) for at_ms in times]
        schedules.plan(world.conn, schedule.id, rows, backfill=False)
    return revision


@pytest.fixture
def revisions(world: World) -> tuple[int, int]:
    first = stored(world, "nightly", "ann", [10, 30, 90], [20])
    return first, stored(world, "weekly", "bob", [15, 25])


def test_due_times_are_those_of_each_pipeline_in_order(
    world: World, revisions: tuple[int, int]
) -> None:
    found, until_ms = schedules.due_times(world.conn, until_ms=90, limit=10)
    assert sorted(found, key=lambda due: due.pipeline) == [
        PlannedTimes(pipeline="nightly", revision_id=revisions[0], times_ms=[10, 20, 30]),
        PlannedTimes(pipeline="weekly", revision_id=revisions[1], times_ms=[15, 25]),
    ]
    assert until_ms == 90


def test_due_times_may_be_those_of_one_client(world: World, revisions: tuple[int, int]) -> None:
    found, until_ms = schedules.due_times(world.conn, until_ms=99, limit=3, client="bob")
    assert found == [PlannedTimes(pipeline="weekly", revision_id=revisions[1], times_ms=[15])]
    assert until_ms == 20  # What is due then or later may not be all.
    assert schedules.due_times(world.conn, until_ms=99, limit=3, client="eve") == ([], 20)
    assert schedules.due_times(world.conn, until_ms=5, limit=3) == ([], 5)


def test_upcoming_runs_say_whose_they_are(world: World, revisions: tuple[int, int]) -> None:
    found = schedules.upcoming(world.conn, until_ms=15, after=(-1, -1, -1), limit=10)
    assert [(each.pipeline, each.client, each.revision_id) for each in found] == [
        ("nightly", "ann", revisions[0]),
        ("weekly", "bob", revisions[1]),
    ]


@pytest.mark.parametrize(
    "name",
    ["to_plan", "next_due", "due_schedules", "due", "active_runs", "unplan_beyond", "plan_from"],
)
def test_what_is_asked_each_second_or_minute_reads_only_what_is_due(
    world: World, name: str
) -> None:
    text = Statements("schedules")[name]
    steps = world.conn.execute(f"EXPLAIN QUERY PLAN {text}", (1,) * _parameters(text))
    assert not [step[3] for step in steps if step[3].startswith("SCAN")]


def _parameters(text: str) -> int:
    numbered = {int(number) for number in re.findall(r"\?(\d)", text)}
    return max(numbered) if numbered else text.count("?")
