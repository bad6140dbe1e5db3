"""Decides which facts outlive a restore: those of what the state knows, and will not hear again."""

from csv import DictReader
from pathlib import Path

from control.model.life import Lost
from control.model.states import Outcome
from store.facts import Facts
from tests.store.fact_samples import TOPIC, fact, skipped

NOTHING = Lost(
    last_job_id=50,
    last_id=2_000,
    open_jobs=[],
    counted=[],
    skipped_again=[],
    ended_again=[],
    beyond=[],
    from_start=True,
)
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
    path.mkdir(exist_ok=True)
    facts = Facts(path / "facts.duckdb")
    facts.append(FACTS, TOPIC, {0: 9})
    fields = {name: getattr(NOTHING, name) for name in NOTHING.__struct_fields__}
    forgotten = facts.enter(2, Lost(**(fields | lost)))
    assert (facts.epoch(), facts.reached(TOPIC)) == (2, {})
    export = path / "facts.csv"
    facts.export(export, "csv")
    facts.close()
    with export.open(encoding="utf-8") as file:
        rows = [(int(row["job_id"]), int(row["attempt"])) for row in DictReader(file)]
    assert forgotten == len(FACTS) - len(rows)
    return sorted(rows)


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
    assert kept(tmp_path / "b", ended_again=[(2, 2), (3, 1)]) == without((2, 2))


def test_attempts_that_a_job_has_not_come_to_have_none(tmp_path: Path) -> None:
    assert kept(tmp_path, beyond=[(3, 2)]) == without((3, 2))
