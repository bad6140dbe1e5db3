"""Decides what is said of workers that leave, and of attempts that nothing comes after."""

import msgspec
import pytest

from control.core.dispatcher.effects import StepEffects
from control.core.dispatcher.leases import Leases
from control.model.bus.messages import CancelJob, WorkerDown
from control.model.states import Outcome
from control.model.worker import wire
from tests.core.dispatcher.leasing import (
    CLASSES,
    assigned,
    connect,
    ended,
    place,
    place_of,
    placed,
    results,
)


@pytest.mark.parametrize("said_by", ["worker", "operator"])
def test_a_worker_that_drained_and_leaves_is_not_lost(said_by: str) -> None:
    leases = Leases("d", CLASSES, 0)
    connect(leases, "w")
    (lease,) = assigned(place(leases, 5, "w", 0), "w")
    out = StepEffects()
    if said_by == "worker":
        leases.leaving("w", out)
    else:
        leases.drain("w", out)
    leases.ended("w", ended(lease), out, 10)
    leases.disconnected("w", "closed", out, 100)
    assert gone(out) == [("it had drained", True)]


def test_a_worker_that_leaves_with_a_job_in_its_hands_is_lost() -> None:
    leases = Leases("d", CLASSES, 0)
    connect(leases, "w")
    place(leases, 5, "w", 0)
    out = StepEffects()
    leases.leaving("w", out)
    leases.disconnected("w", "closed", out, 100)
    connect(leases, "v")
    leases.disconnected("v", "closed", out, 200)  # Nobody had asked it to.
    assert gone(out) == [("closed", False)] * 2


@pytest.mark.parametrize("how", ["failed", "lost"])
def test_no_attempt_comes_after_one_of_a_cancelled_job(how: str) -> None:
    leases = Leases("d", CLASSES, 0)
    connect(leases, "w")
    given, out = placed(5, "w"), StepEffects()
    job = msgspec.structs.replace(given.job, retries_left=2)
    leases.place(msgspec.structs.replace(given, job=job), place_of(0), out, 0)
    (lease,) = assigned(out, "w")
    leases.began("w", wire.Began(lease=lease, started_ms=1), out, 50)
    leases.cancel(CancelJob(job_id=5, attempt=1, reason="by order"), out)
    if how == "failed":
        leases.ended("w", ended(lease, Outcome.FAILED), out, 60)
    else:
        leases.disconnected("w", "closed", out, 60)
        leases.expire(out, 10_000)
    (result,) = results(out)
    assert (result.outcome, result.final) == (Outcome(how), True)


def gone(out: StepEffects) -> list[tuple[str, bool]]:
    """What is said of the workers that are gone."""
    found = [record.message for record in out.records]
    return [(each.reason, each.drained) for each in found if isinstance(each, WorkerDown)]
