"""Owns the facts that tests are written with."""

from csv import DictReader
from pathlib import Path

import msgspec

from control.model.life import Lost
from control.model.states import Outcome, Speed
from store.facts.database import Facts
from store.facts.fact import Fact

# What is lost by a restore that loses nothing.
NOTHING_LOST = Lost(
    last_job_id=50,
    last_id=2_000,
    open_jobs=[],
    counted=[],
    skipped_again=[],
    ended_again=[],
    beyond=[],
    from_start=True,
)
NOW_MS = 1_800_000_000_000
HOUR_MS = 3_600_000
TOPIC = "results"


def fact(job_id: int = 1, ago_ms: int = 1_000, **fields: object) -> Fact:
    values: dict[str, object] = {
        "run_id": job_id // 2,
        "job_id": job_id,
        "attempt": 1,
        "pipeline": "nightly",
        "job": "pull",
        "stage": "extract",
        "kind": "Shell",
        "client": "ops",
        "worker": "w-1",
        "partition": 0,
        "speed": Speed.FAST,
        "outcome": Outcome.DONE,
        "final": True,
        "expected": 1.0,
        "ready_ms": NOW_MS - 9_000,
        "started_ms": NOW_MS - 8_000,
        "finished_ms": NOW_MS - ago_ms,
        "wait_seconds": 1.0,
        "duration_seconds": 2.0,
        "exit_code": 0,
    }
    return msgspec.convert(values | fields, Fact)


def skipped(job_id: int, ago_ms: int = 1_000, **fields: object) -> Fact:
    nothing: dict[str, object] = dict.fromkeys(
        ["worker", "partition", "speed", "started_ms", "wait_seconds", "duration_seconds", "stage"]
    )
    return fact(job_id, ago_ms, **(nothing | {"outcome": Outcome.CANCELLED} | fields))


def attempts_in(facts: Facts, folder: Path) -> list[tuple[int, int]]:
    """The job and attempt of each fact, sorted; writes a file into the folder."""
    path = folder / "facts.csv"
    facts.export(path, "csv")
    with path.open(encoding="utf-8") as file:
        return sorted((int(row["job_id"]), int(row["attempt"])) for row in DictReader(file))
