"""Checks what-if without a server: a file of facts, and the farm that the options say."""

from pathlib import Path

import duckdb
import pytest

from tests.cli.calling import Tpctl

NOWHERE = ("--url", "http://127.0.0.1:1")
DAY_MS = 86_400_000
# Two days of a job each 100 s that takes 150 s, on one slot: they pile up.
FACTS = f"""
    SELECT
        n AS run_id, n AS job_id, 1 AS attempt, 'p' || n % 2 AS pipeline, 'only' AS job,
        's' AS stage, 'ann' AS client, 'done' AS outcome, true AS final,
        1_795_000_000_000 + n * 100_000 AS ready_ms,
        1_795_000_000_000 + n * 100_000 + 1 AS finished_ms, 150.0 AS duration_seconds
    FROM range({2 * DAY_MS // 100_000}) AS numbers (n)
"""


@pytest.fixture(params=["parquet", "csv", "json"])
def facts(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    file = tmp_path / f"facts.{request.param}"
    with duckdb.connect() as conn:
        conn.execute(f"COPY ({FACTS}) TO '{file}' (FORMAT {request.param})")
    return file


def test_a_file_is_played_without_a_server(tpctl: Tpctl, facts: Path) -> None:
    farm = ("--workers", "1", "--slots", "1")
    shown = tpctl("simulate", "--file", facts, *NOWHERE, *farm, "--slow", "50", "-o", "json")
    assert shown.code == 0, shown.err
    assert "without a server" in shown.err
    assert shown.row["jobs"] == DAY_MS // 100_000  # The newest fact ends the window.
    now, then = shown.row["now"], shown.row["what_if"]
    assert isinstance(now, dict)
    assert isinstance(then, dict)
    assert (now["slots"], now["slow"], then["slow"]) == (1, 60.0, 50.0)
    late = now["late"]
    assert isinstance(late, int)
    assert late > 800
    table = tpctl("simulate", "--file", facts, *NOWHERE, *farm, "--window", "1h", "--late", "50s")
    assert table.code == 2  # Seconds are a number here.
    table = tpctl("simulate", "--file", facts, *NOWHERE, *farm, "--window", "1h", "--late", "50")
    assert "late: waited over 50.0s" in table.out
    assert "pipelines with the most late jobs" in table.out


def test_without_a_farm_it_says_what_to_give(tpctl: Tpctl, facts: Path) -> None:
    shown = tpctl("simulate", "--file", facts, *NOWHERE, "--workers", "1")
    assert (shown.code, shown.out) == (2, "")
    assert "give --workers and --slots" in shown.err


def test_a_history_in_which_nothing_ran_is_told(tpctl: Tpctl, tmp_path: Path) -> None:
    file = tmp_path / "facts.parquet"
    with duckdb.connect() as conn:
        conn.execute(f"COPY ({FACTS} LIMIT 0) TO '{file}' (FORMAT parquet)")
    shown = tpctl("simulate", "--file", file, *NOWHERE)
    assert (shown.code, shown.out) == (0, "")
    assert "there is nothing to play" in shown.err


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("facts.csv", "a,b\n1,2\n"),
        ("facts.parquet", "PAR1"),
        ("facts.json", "{"),
    ],
)
def test_what_is_no_file_of_facts_is_refused(
    tpctl: Tpctl, tmp_path: Path, name: str, text: str
) -> None:
    file = tmp_path / name
    file.write_text(text)
    shown = tpctl("simulate", "--file", file, *NOWHERE)
    assert (shown.code, shown.out) == (2, "")
    assert "is no file of facts" in shown.err


def test_an_outcome_that_nobody_knows_is_refused(tpctl: Tpctl, tmp_path: Path) -> None:
    file = tmp_path / "facts.csv"
    with duckdb.connect() as conn:
        odd = FACTS.replace("'done'", "'odd'")
        conn.execute(f"COPY ({odd}) TO '{file}' (FORMAT csv)")
    assert tpctl("simulate", "--file", file, *NOWHERE).code == 2
