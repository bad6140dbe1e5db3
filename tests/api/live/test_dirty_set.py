"""Decides which changes are read, how many at once, and when they are looked at again."""

from control.api.live.dirty_set import Marks, Taken, WantedChanges
from control.model import limits
from control.model.numbers import JobId, RunId

LATER = limits.SETTLE_S


def test_only_what_is_wanted_is_marked() -> None:
    marks = Marks()
    marks.mark(RunId(1), JobId(1), 0.0)
    assert marks.take(0.0) == Taken([], [], 0)
    marks.wanted = WantedChanges(
        watched=frozenset({RunId(1)}), new_above=10, jobs_of=frozenset({RunId(2)})
    )
    for run in (1, 2, 10, 11):
        marks.mark(RunId(run), JobId(100 + run), 0.0)
    marks.mark(None, JobId(500), 0.0)  # Whose it is turns out when it is read.
    assert marks.take(0.0) == Taken([RunId(1), RunId(11)], [JobId(500), JobId(102)], 0)
    marks.clear()
    marks.mark(RunId(1), JobId(1), 0.0)
    assert not marks.waiting


def test_what_has_not_ended_is_looked_at_once_more() -> None:
    marks = Marks()
    marks.wanted = WantedChanges(all_runs=True, all_jobs=True)
    for run in (1, 2):
        marks.mark(RunId(run), JobId(10 * run), 0.0)
    assert marks.take(0.1) == Taken([RunId(2), RunId(1)], [JobId(20), JobId(10)], 0)
    marks.settled([RunId(1)], [JobId(10)])
    assert marks.take(0.5) == Taken([], [], 0)
    assert marks.take(LATER) == Taken([RunId(2)], [JobId(20)], 0)
    assert marks.take(2 * LATER) == Taken([], [], 0)
    marks.put_back(Taken([RunId(2)], [JobId(20)], 0), 3.0)
    assert marks.take(3.0) == Taken([RunId(2)], [JobId(20)], 0)


def test_of_many_the_newest_come_first_and_those_that_are_watched_have_their_room() -> None:
    marks = Marks()
    marks.wanted = WantedChanges(watched=frozenset(map(RunId, range(180))), new_above=1_000)
    for run in range(1_001, 1_201):
        marks.mark(RunId(run), JobId(run), 0.0)
    for run in range(180):
        marks.mark(RunId(run), JobId(run), 0.0)
    most, new = limits.CHANGED_RUNS_MAX, limits.NEW_RUNS_MAX
    first = marks.take(0.0)
    assert first.runs == [*range(179, 179 - (most - new), -1), *range(1_200, 1_200 - new, -1)]
    assert first.runs_more == 180 + 200 - most
    second = marks.take(0.0)
    assert second.runs == [*range(29, -1, -1), *range(1_150, 1_150 - new, -1)]
    assert second.runs_more == 100


def test_what_nobody_could_read_is_dropped_and_counted() -> None:
    marks = Marks()
    marks.wanted = WantedChanges(all_runs=True)
    for run in range(1, 100_001):
        marks.mark(RunId(run), JobId(run), 0.0)
    taken = marks.take(0.0)
    assert taken.runs == list(range(100_000, 100_000 - limits.CHANGED_RUNS_MAX, -1))
    assert taken.runs_more == 100_000 - limits.CHANGED_RUNS_MAX
    assert marks.take(0.0).runs_more <= limits.CHANGED_RUNS_MAX
