"""Decides which facts outlive a restore: those of what the state knows, and will not hear again."""

from pathlib import Path

import msgspec

from control.model.states import Outcome
from store.facts.database import Facts
from tests.store.facts.fact_samples import NOTHING_LOST, TOPIC, attempts_in, fact, skipped

FACTS = (
    fact(1),
    fact(2, outcome=Outcome.FAILED, final=False),
    fact(2, attempt=2),
    skipped(3),
    fact(3, attempt=2),
    fact(60),
    fact(2_001),
)


def kept(path: Path, **lost: object) -> list[tuple[int, int]]:
    """Which attempts have facts after a restore."""
    facts = Facts(path / "facts.duckdb")
    facts.append(FACTS, TOPIC, {0: 9})
    forgotten = facts.enter(2, msgspec.structs.replace(NOTHING_LOST, **lost))
    assert (facts.epoch(), facts.reached(TOPIC)) == (2, {})
    rows = attempts_in(facts, path)
    facts.close()
    assert forgotten == len(FACTS) - len(rows)
    return rows


ALL = [(1, 1), (2, 1), (2, 2), (3, 1), (3, 2), (2_001, 1)]


def without(*gone: tuple[int, int]) -> list[tuple[int, int]]:
    return [each for each in ALL if each not in gone]


def test_jobs_that_were_submitted_after_the_backup_have_none(tmp_path: Path) -> None:
    assert kept(tmp_path) == ALL


def test_of_an_open_job_those_before_its_last_attempt_stay(tmp_path: Path) -> None:
    # Also the end of an attempt that was skipped, and tried again by hand before the backup.
    assert kept(tmp_path, open_jobs=[(2, 2), (3, 2)]) == without((2, 2), (3, 2))


def test_what_was_counted_and_is_not_heard_again_stays(tmp_path: Path) -> None:
    found = kept(tmp_path, open_jobs=[(2, 2), (3, 2)], counted=[(2, 2)])
    assert found == without((3, 2))


def test_what_the_bus_delivers_again_is_counted_then(tmp_path: Path) -> None:
    # Job 1 had an attempt, which ended; job 3 was skipped at its first.
    assert kept(tmp_path, skipped_again=[(1, 1), (3, 1)]) == without((3, 1))


def test_what_a_worker_ends_again_is_counted_then(tmp_path: Path) -> None:
    # But what the state had said of an attempt is not said again.
    assert kept(tmp_path, ended_again=[(2, 2), (3, 1)]) == without((2, 2))


def test_attempts_that_a_job_has_not_come_to_have_none(tmp_path: Path) -> None:
    assert kept(tmp_path, beyond=[(3, 2)]) == without((3, 2))
