"""Decides that facts survive crashes, that reports add up, and what a user's SQL may not do."""

import csv
import json
import stat
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from control.core.reports.time_window import window_ms
from control.model import limits
from control.model.api.reports import Learned, Spread, Summary
from control.model.errors import Invalid, Rejected, StoreFailed
from control.model.states import Outcome, Speed
from store.facts.database import Facts
from tests.store.facts.fact_samples import HOUR_MS, NOW_MS, TOPIC, fact, skipped


@pytest.fixture
def facts(tmp_path: Path) -> Iterator[Facts]:
    opened = Facts(tmp_path / "facts.duckdb")
    yield opened
    opened.close()


def test_facts_and_offset_are_there_after_reopening(tmp_path: Path) -> None:
    path = tmp_path / "facts.duckdb"
    first = Facts(path)
    assert first.reached(TOPIC) == {}
    first.append([fact(1), fact(2)], TOPIC, {0: 1})
    first.append([fact(3)], TOPIC, {0: 2, 3: 7})
    first.append([], TOPIC, {0: 5})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    first.close()
    again = Facts(path)
    assert again.reached(TOPIC) == {0: 5, 3: 7}
    assert again.reached("other") == {}
    assert again.summary(HOUR_MS, NOW_MS).jobs == 3
    again.close()


CRASH = """
    import os, resource, sys
    from pathlib import Path
    import msgspec
    from control.model.errors import StoreFailed
    from store.facts.fact import Fact
    from store.facts.database import Facts

    facts = Facts(Path(sys.argv[1]))
    batch = msgspec.json.decode(sys.argv[2], type=list[Fact])
    facts.append(batch, "results", {0: 0})
    if sys.argv[3] == "full":
        big = [msgspec.structs.replace(f, error=os.urandom(500_000).hex()) for f in batch * 5]
        size = os.path.getsize(sys.argv[1]) + 100_000
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        for _ in range(2):
            try:
                facts.append(big, "results", {0: 1})
            except StoreFailed as error:
                print(error)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        assert facts.reached("results") == {0: 0}
        facts.append(batch, "results", {0: 1})
        print(facts.reached("results"))
    sys.stdout.flush()
    os._exit(9)
"""


def crash(path: Path, how: str) -> list[str]:
    batch = msgspec.json.encode([fact(1), fact(2)]).decode()
    script = textwrap.dedent(CRASH)
    root = Path(__file__).resolve().parents[3]
    command = [sys.executable, "-c", script, str(path), batch, how]
    ended = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert ended.returncode == 9, ended.stderr
    return [line for line in ended.stdout.splitlines() if "facts.opened" not in line]


def test_a_killed_process_loses_no_committed_fact(tmp_path: Path) -> None:
    crash(tmp_path / "facts.duckdb", "killed")
    again = Facts(tmp_path / "facts.duckdb")
    assert again.reached(TOPIC) == {0: 0}
    assert again.summary(HOUR_MS, NOW_MS).jobs == 2
    again.close()


def test_a_full_disk_is_told_and_got_over(tmp_path: Path) -> None:
    told = crash(tmp_path / "facts.duckdb", "full")
    assert len(told) >= 3
    assert told[-1] == "{0: 1}"
    again = Facts(tmp_path / "facts.duckdb")
    assert counted(again) == 4
    again.close()


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "facts.duckdb"
    path.write_bytes(b"not a database" * 1_000)
    broken = Facts(path)
    with pytest.raises(StoreFailed, match="not a valid DuckDB"):
        broken.summary(HOUR_MS, NOW_MS)
    path.unlink()
    assert broken.summary(HOUR_MS, NOW_MS).jobs == 0


def test_an_empty_file_gives_empty_reports(facts: Facts) -> None:
    nothing = Spread(mean=None, p50=None, p95=None, p99=None, max=None)
    assert facts.summary(HOUR_MS, NOW_MS) == Summary(
        window=3600.0,
        runs=0,
        jobs=0,
        done=0,
        error=0,
        cancelled=0,
        retries=0,
        lost=0,
        throughput=0.0,
        busy_slots=0.0,
        wait=nothing,
        duration=nothing,
    )
    assert facts.pipelines(HOUR_MS, NOW_MS) == []
    assert facts.slow_tasks(HOUR_MS, NOW_MS) == []
    assert facts.partitions(HOUR_MS, NOW_MS) == []
    assert facts.workers(HOUR_MS, NOW_MS) == []
    assert facts.durations() == []


def test_a_job_counts_once_by_its_last_end(facts: Facts) -> None:
    rows = [
        fact(1, attempt=1, outcome=Outcome.FAILED, final=False),
        fact(1, attempt=2, outcome=Outcome.FAILED),
        fact(1, attempt=3),  # By hand.
        skipped(2),
        fact(2),  # By hand too: a job that never started keeps its attempt number.
        fact(3, outcome=Outcome.LOST, final=False),
        fact(3, attempt=2, outcome=Outcome.TIMED_OUT),
        skipped(4),
    ]
    facts.append(rows, TOPIC, {0: 7})
    total = facts.summary(HOUR_MS, NOW_MS)
    assert (total.jobs, total.done, total.error, total.cancelled) == (4, 2, 1, 1)
    assert (total.retries, total.lost, total.runs) == (2, 1, 3)
    (line,) = facts.pipelines(HOUR_MS, NOW_MS)
    assert (line.jobs, line.done, line.error, line.cancelled, line.retries) == (4, 2, 1, 1, 2)
    (partition,) = facts.partitions(HOUR_MS, NOW_MS)
    assert (partition.attempts, partition.jobs) == (6, 3)


def test_the_slot_of_a_long_attempt_was_busy_only_since_the_window_began(facts: Facts) -> None:
    facts.append([fact(1, ago_ms=HOUR_MS // 2, duration_seconds=86_400.0)], TOPIC, {0: 0})
    assert facts.summary(HOUR_MS, NOW_MS).busy_slots == 0.5


def test_slow_tasks_show_a_trend_and_what_was_before(facts: Facts) -> None:
    rows = [
        fact(1, ago_ms=HOUR_MS - 1, duration_seconds=3.0),
        fact(2, ago_ms=-60_000, duration_seconds=5.0),  # Its worker's clock is fast.
        fact(3, ago_ms=HOUR_MS, duration_seconds=1.0),
        fact(4, ago_ms=2 * HOUR_MS, duration_seconds=99.0),
        fact(5, job="publish", duration_seconds=2.0, outcome=Outcome.FAILED, speed=Speed.SLOW),
        skipped(6, job="cleanup"),
    ]
    facts.append(rows, TOPIC, {0: 5})
    pull, publish = facts.slow_tasks(HOUR_MS, NOW_MS)
    assert (pull.n, pull.slot_seconds, pull.share, pull.p50) == (2, 8.0, 0.8, 4.0)
    assert pull.trend == (3.0, *[None] * (limits.TREND_BUCKETS - 2), 5.0)
    assert pull.p95_before == 1.0
    assert pull.p95_delta == pull.p95 - 1.0
    assert (publish.speed, publish.errors, publish.error_rate) == (Speed.SLOW, 1, 1.0)
    assert publish.p95_before is publish.p95_delta is None
    assert json.loads(msgspec.json.encode(publish))["class"] == "slow"
    assert [task.job for task in facts.slow_tasks(HOUR_MS, NOW_MS, limit=1)] == ["pull"]


def test_durations_are_the_last_of_what_succeeded_oldest_first(facts: Facts) -> None:
    many = limits.WARM_DURATIONS_MAX + 6
    rows = [fact(i, ago_ms=many - i, duration_seconds=float(i)) for i in range(many)]
    rows += [
        fact(900, job="publish", ago_ms=5_000, duration_seconds=7.0),
        fact(901, outcome=Outcome.FAILED),
        skipped(902),
    ]
    facts.append(rows, TOPIC, {0: 1})
    pull, publish = facts.durations()
    assert pull.durations == tuple(float(i) for i in range(6, many))
    assert publish == Learned(pipeline="nightly", job="publish", durations=(7.0,))
    assert facts.durations(limit=1) == [pull]


def test_what_is_pruned_is_gone_and_the_offset_stays(facts: Facts) -> None:
    facts.append([fact(1, ago_ms=5_000), fact(2)], TOPIC, {0: 9})
    assert facts.prune(NOW_MS - 4_999) == 1
    assert counted(facts) == 1
    assert facts.reached(TOPIC) == {0: 9}


@pytest.mark.parametrize("form", ["parquet", "csv", "json"])
def test_an_export_holds_all_facts(facts: Facts, tmp_path: Path, form: str) -> None:
    facts.append([fact(1, error='a "quoted", word'), fact(2, ago_ms=2_000)], TOPIC, {0: 1})
    path = tmp_path / f"it's.{form}"
    assert facts.export(path, form) == 2  # type: ignore[arg-type]  # Parametrised.
    if form == "parquet":
        assert path.read_bytes()[:4] == b"PAR1"
        return
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file)) if form == "csv" else [json.loads(line) for line in file]
    assert [int(row["job_id"]) for row in rows] == [2, 1]
    assert rows[1]["error"] == 'a "quoted", word'


@pytest.mark.parametrize("form", ["parquet", "csv", "json"])
def test_an_export_begins_where_it_is_asked_to(facts: Facts, tmp_path: Path, form: str) -> None:
    late = fact(1)
    early = msgspec.structs.replace(fact(2), ready_ms=late.ready_ms - 1)
    facts.append([late, early], TOPIC, {0: 1})
    for since_ms, count in ((None, 2), (early.ready_ms - 1, 2), (early.ready_ms, 1), (NOW_MS, 0)):
        path = tmp_path / f"{since_ms}.{form}"
        assert facts.export(path, form, since_ms) == count  # type: ignore[arg-type]  # Parametrised.


def test_an_export_to_nowhere_is_refused(facts: Facts, tmp_path: Path) -> None:
    with pytest.raises(Rejected, match="could not be exported"):
        facts.export(tmp_path / "missing" / "x.csv", "csv")
    assert facts.summary(HOUR_MS, NOW_MS).jobs == 0


def counted(facts: Facts) -> int:
    return facts.summary(1_000 * HOUR_MS, NOW_MS + HOUR_MS).jobs


def test_windows() -> None:
    assert [window_ms(text) for text in ("15m", "1h", "24h", "7d", "90", "1.5h", " 30s ")] == [
        900_000, HOUR_MS, 24 * HOUR_MS, 168 * HOUR_MS, 90_000, 5_400_000, 30_000,
    ]  # fmt: skip
    for text in ("", "h", "-1h", "1y", "1h30m", "0", "0.2s", "99999d", "1e9", "٣h"):
        with pytest.raises(Invalid, match="window"):
            window_ms(text)


def test_a_file_that_was_removed_while_it_was_in_use_is_said(tmp_path: Path) -> None:
    facts = Facts(tmp_path / "facts.duckdb")
    facts.append([fact(1)], TOPIC, {0: 0})
    (tmp_path / "facts.duckdb").unlink()
    with pytest.raises(StoreFailed, match="it was removed"):
        facts.append([fact(2)], TOPIC, {0: 1})
    facts.append([fact(2)], TOPIC, {0: 1})  # Into a new one: what was in the old one is gone.
    assert facts.summary(HOUR_MS, NOW_MS).jobs == 1
    facts.close()
