"""Decides whether anything was lost or counted twice, from three independent records.

The state (runs and how many of their jobs are DONE), the statistics (one fact for each end of an
attempt), and the lines that the jobs themselves wrote when they began and ended.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from control.model.states import Outcome

BEGAN: Final = "began"
ENDED: Final = "ended"


class EndFact(msgspec.Struct, frozen=True, kw_only=True):
    """How an attempt ended, as the statistics have it. `wait_s`: null, it never began."""

    job: int
    attempt: int
    outcome: Outcome
    pipeline: str
    wait_s: float | None
    ready_ms: int


class DemoCount(msgspec.Struct, frozen=True, kw_only=True):
    """What was counted. `lost`, `twice`: jobs for which the promise is broken."""

    submitted: int
    done: int  # As the state has it.
    results: int  # As the statistics have it: ends with success,
    with_result: int  # and the jobs that have one.
    lost: int
    twice: int
    attempts: int  # That wrote that they began. Of these:
    succeeded: int  # it ended DONE;
    interrupted: int  # the worker was lost, and another attempt followed;
    failed: int  # it failed, and was tried again;
    redone: int  # of the interrupted, it had just written its last line, too.

    @property
    def promise_holds(self) -> bool:
        """Nothing is lost, and nothing counts twice."""
        return not self.lost and not self.twice


def counted(
    runs: Mapping[int, int],
    done: Mapping[int, int],
    facts: Sequence[EndFact],
    lines: Iterable[str],
) -> DemoCount:
    """Compare the records.

    `runs`: how many jobs each run has that the API has accepted; `done`: of each run that the state
    has, how many jobs are DONE; `lines`: `began JOB ATTEMPT`, and `ended …` when the work is done.

    A job whose worker is lost may do its work again, under a new attempt. Lost is a job without a
    counted result, or without work. Twice is one with two results, with an attempt that was
    executed twice or is in no record, or whose work was done again although no worker was lost.
    """
    lines = list(lines)
    began, ended = _attempts(lines, BEGAN), _attempts(lines, ENDED)
    outcomes = {(fact.job, fact.attempt): fact.outcome for fact in facts}
    results = Counter(fact.job for fact in facts if fact.outcome is Outcome.DONE)
    interrupted = {each for each, outcome in outcomes.items() if outcome is Outcome.LOST}
    works = Counter(job for job, attempt in ended if (job, attempt) not in interrupted)
    twice = {job for number in (results, works) for job in number if number[job] > 1}
    twice |= {each[0] for each in began if began[each] > 1 or each not in outcomes}
    submitted = sum(runs.values())
    done_accepted = sum(done.get(run, 0) for run in runs)
    complete = len(results.keys() & {job for job, _ in ended})
    return DemoCount(
        submitted=submitted,
        done=done_accepted,
        results=results.total(),
        with_result=len(results),
        lost=max(submitted - min(done_accepted, complete), 0),
        # A run that no answer was about is a submission that was stored again.
        twice=len(twice) + len(done.keys() - runs.keys()),
        attempts=len(began),
        succeeded=sum(outcomes.get(each) is Outcome.DONE for each in began),
        interrupted=len(began.keys() & interrupted),
        failed=sum(outcomes.get(each) is Outcome.FAILED for each in began),
        redone=len(ended.keys() & interrupted),
    )


def _attempts(lines: Iterable[str], word: str) -> Counter[tuple[int, int]]:
    """How often each attempt wrote this word."""
    found: Counter[tuple[int, int]] = Counter()
    for line in lines:
        first, job, attempt = line.split()
        if first == word:
            found[int(job), int(attempt)] += 1
    return found
