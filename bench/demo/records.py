"""Owns how the three records that the demo compares are read: state, statistics, and journal."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
import trio

from bench.demo.calls import DemoCalls
from bench.demo.count import ENDED, EndFact
from control.model import limits
from control.model.states import Outcome, State

_SQL: Final = (
    "SELECT job_id AS job, attempt, outcome, pipeline, wait_seconds AS wait_s, "
    "ready_ms FROM facts ORDER BY ready_ms"
)
_TRIES: Final = 20  # Statistics follow within a second or two.
_AGAIN_S: Final = 0.5


class _StageCounts(msgspec.Struct, frozen=True):
    counts: dict[State, int]


class _RunStages(msgspec.Struct, frozen=True):
    id: int
    stages: list[_StageCounts]


class _RunPage(msgspec.Struct, frozen=True):
    items: list[_RunStages]
    next_cursor: str | None = None


class _FactRows(msgspec.Struct, frozen=True):
    columns: list[str]
    rows: list[list[object]]


async def done_jobs(calls: DemoCalls) -> Mapping[int, int]:
    """Of each run that the state has: how many of its jobs are DONE."""
    found: dict[int, int] = {}
    query = {"limit": str(limits.PAGE_MAX)}
    while True:
        page = msgspec.convert(await calls.get("/v1/runs", query), _RunPage)
        for run in page.items:
            found[run.id] = sum(stage.counts.get(State.DONE, 0) for stage in run.stages)
        if page.next_cursor is None:
            return found
        query["cursor"] = page.next_cursor


async def facts_of(calls: DemoCalls, jobs: int) -> list[EndFact]:
    """The statistics, once so many jobs are DONE there; after some seconds as they are."""
    facts: list[EndFact] = []
    for _ in range(_TRIES):
        answer = msgspec.convert(await calls.facts(_SQL, limits.QUERY_ROWS_MAX), _FactRows)
        facts = [
            msgspec.convert(dict(zip(answer.columns, row, strict=True)), EndFact)
            for row in answer.rows
        ]
        if len({fact.job for fact in facts if fact.outcome is Outcome.DONE}) >= jobs:
            break
        await trio.sleep(_AGAIN_S)
    return facts


def lines_of(journal: Path) -> list[str]:
    """What the jobs themselves wrote."""
    file = journal / "executed"
    return file.read_text("utf-8").splitlines() if file.exists() else []


def ended_lines(journal: Path) -> int:
    """How many attempts have written their last line."""
    return sum(line.startswith(ENDED) for line in lines_of(journal))
