"""Decides whether anything was lost or counted twice, from three independent records.

The state (runs and how many of their jobs are DONE), the statistics (one fact for each end of an
attempt), and the lines that the jobs themselves wrote when they began and ended.
"""

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from control.model.states import Outcome

BEGAN: Final = "began"
ENDED: Final = "ended"


class EndFact(msgspec.Struct, frozen=True, kw_only=True):
    """How an attempt ended, as the statistics have it. `wait_s`: null, it never began."""

    job: int
    attempt: int
    outcome: Outcome
    worker: str | None
    pipeline: str
    wait_s: float | None
    ready_ms: int


class DemoExecution(NamedTuple):
    """Which attempt a line is about, and which worker executed it."""

    job: int
    attempt: int
    worker: str


class DemoCount(msgspec.Struct, frozen=True, kw_only=True):
    """What was counted. `lost`, `twice`: jobs for which the promise is broken."""

    submitted: int
    done: int  # As the state has it.
    results: int  # As the statistics have it: ends with success,
    with_result: int  # and the jobs that have one.
    lost: int
    twice: int
    executions: int  # That wrote that they began. Of these:
    succeeded: int  # it ended DONE;
    failed: int  # it failed, and was tried again;
    interrupted: int  # its worker was lost before its result counted, and another one followed;
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
    killed: Container[str],
) -> DemoCount:
    """Compare the records.

    `runs`: how many jobs each run has that the API has accepted; `done`: of each run that the state
    has, how many jobs are DONE; `lines`: `began JOB ATTEMPT WORKER`, and `ended …` when the work is
    done; `killed`: workers.

    A job whose worker is lost may do its work again: under a new attempt, or, if nobody knew yet
    that it had begun, under the same. Lost is a job without a counted result, or without work.
    Twice is one with two results, or with work in no record, or again although no worker was lost.
    """
    lines = list(lines)
    began, ended = _executions(lines, BEGAN), _executions(lines, ENDED)
    recorded = {(fact.job, fact.attempt): fact for fact in facts}
    results = Counter(fact.job for fact in facts if fact.outcome is Outcome.DONE)

    def interrupted(each: DemoExecution) -> bool:
        fact = recorded.get((each.job, each.attempt))
        if fact is None or fact.outcome is Outcome.LOST:
            return fact is not None
        return each.worker in killed and each.worker != fact.worker

    whole = [each for each in began if not interrupted(each)]
    attempts = Counter((each.job, each.attempt) for each in whole)
    works = Counter(each.job for each in ended if not interrupted(each))
    twice = {job for number in (results, works) for job in number if number[job] > 1}
    twice |= {each.job for each in began if began[each] > 1}
    twice |= {each[0] for each in attempts if attempts[each] > 1 or each not in recorded}
    submitted = sum(runs.values())
    done_accepted = sum(done.get(run, 0) for run in runs)
    complete = len(results.keys() & {each.job for each in ended})
    outcomes = Counter(recorded[each].outcome for each in attempts if each in recorded)
    return DemoCount(
        submitted=submitted,
        done=done_accepted,
        results=results.total(),
        with_result=len(results),
        lost=max(submitted - min(done_accepted, complete), 0),
        # A run that no answer was about is a submission that was stored again.
        twice=len(twice) + len(done.keys() - runs.keys()),
        executions=len(began),
        succeeded=outcomes[Outcome.DONE],
        failed=outcomes[Outcome.FAILED],
        interrupted=len(began) - len(whole),
        redone=sum(map(interrupted, ended)),
    )


def _executions(lines: Iterable[str], word: str) -> Counter[DemoExecution]:
    """How often each execution wrote this word."""
    found: Counter[DemoExecution] = Counter()
    for line in lines:
        first, job, attempt, worker = line.split()
        if first == word:
            found[DemoExecution(int(job), int(attempt), worker)] += 1
    return found
