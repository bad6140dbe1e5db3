"""Decides whether statistics are right: by what the state says, and by what the bus has."""

from collections import Counter
from typing import Final

from control.model.numbers import JobId
from control.model.state_rows import JobRow
from control.model.states import State
from store.facts.database import Facts
from tests.services.plane import Plane
from tests.sim.checks import FOREIGN, Log, naive_ends

_EVER_MS: Final = 2**50


def check_facts(
    plane: Plane,
    facts: Facts,
    log: Log,
    *,
    all_counted: bool,
    uncounted: set[tuple[int, int]] | None,
) -> None:
    """Each end of this life is counted once, and none of a lost one.

    `all_counted`: no result was deleted before it could be. `uncounted` None: the bus is part of
    the data. Else it has ends of lost lives too, some of which were counted there only.
    """
    jobs = {job.id: job for run in plane.runs() for job in run.jobs}
    with facts._cursor() as cursor:  # noqa: SLF001 - No report has each fact.
        rows = cursor.execute(
            "SELECT job_id, attempt, outcome FROM facts WHERE pipeline <> ?", [FOREIGN]
        ).fetchall()
    found: Counter[tuple[JobId, int, str]] = Counter(rows)
    unknown = sorted({job_id for job_id, _, _ in found} - jobs.keys())
    assert not unknown, f"facts of jobs of a lost life: {unknown}"
    twice = {key: n for key, n in found.items() if n > 1}
    assert not twice, f"counted more than once: {twice}"
    expected = naive_ends(log, jobs.keys())
    assert not found - expected, f"facts of nothing: {found - expected}"
    if not all_counted:
        return
    missing = expected - found
    if uncounted is not None:
        missing = Counter(
            key for key in missing if key[1] == jobs[key[0]].attempt and key[:2] not in uncounted
        )
    assert not missing, f"not counted: {missing}"
    if uncounted is None:
        ended = {key[:2] for key in expected}
        without_end = {
            job.id
            for job in jobs.values()
            if log.leases_lost and _was_being_stopped(job) and (job.id, job.attempt) not in ended
        }
        states = Counter(job.state for job in jobs.values() if job.id not in without_end)
        _check_report(facts, states)


def _was_being_stopped(job: JobRow) -> bool:
    return job.state == State.CANCELLED and job.started_ms is not None


def _check_report(facts: Facts, ended: Counter[State]) -> None:
    reports = [each for each in facts.pipelines(_EVER_MS, _EVER_MS) if each.pipeline != FOREIGN]
    told = Counter(
        {
            State.DONE: sum(each.done for each in reports),
            State.ERROR: sum(each.error for each in reports),
            State.CANCELLED: sum(each.cancelled for each in reports),
        }
    )
    assert told == ended, f"the report says {told}, the state {ended}"
