"""Decides which connections a job may use, and what its error says when there is none."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from control.core.pipelines.validate import parse_pipeline
from control.core.schedules.cron import check_schedule
from control.model.errors import Invalid, JobFailed
from control.model.kinds import installed_kinds
from control.model.worker.settings import SecretUrl
from tests.workers.kind_runs import Runs

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("ann:s3cret", "the URL of the connection sales is none; write it like postgresql://"),
        ("oracle://ann:s3cret@db/x", "the connection sales is to oracle, which Query cannot use"),
        ("postgresql://ann:s3cret@db:nine/x", "the URL of the connection sales is none"),
    ],
)
async def test_an_address_that_is_none(
    query: Callable[..., Runs], address: str, words: str
) -> None:
    with pytest.raises(JobFailed, match=words) as caught:
        await query(sales=address)(connection="sales", sql="SELECT 1")
    assert caught.value.final
    assert "s3cret" not in str(caught.value)


async def test_an_unknown_connection_is_final_and_names_the_known(
    query: Callable[..., Runs],
) -> None:
    with pytest.raises(JobFailed, match='no connection "other"; it has a, b') as caught:
        await query(b="sqlite://", a=SecretUrl("sqlite://"))(connection="other", sql="SELECT 1")
    assert caught.value.final
    with pytest.raises(JobFailed, match="it has no connection at all"):
        await query()(connection="other", sql="SELECT 1")


@pytest.mark.parametrize(
    ("module", "url", "extra"),
    [
        ("sqlalchemy", "sqlite://", "query"),
        ("psycopg", "postgresql://127.0.0.1:1/x", "query"),
        ("pymysql", "mysql://127.0.0.1:1/x", "mysql"),
    ],
)
async def test_a_missing_extra_is_named(
    query: Callable[..., Runs],
    monkeypatch: pytest.MonkeyPatch,
    module: str,
    url: str,
    extra: str,
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(JobFailed, match=rf"pip install '\.\[{extra}\]' in a clone") as caught:
        await query(sales=url)(connection="sales", sql="SELECT 1")
    assert caught.value.final


def test_the_kind_loads_no_client() -> None:
    code = (
        "import sys, workers.kinds.query.kind\n"
        "print([name for name in ('sqlalchemy', 'psycopg', 'pymysql', 'duckdb', 'sqlite3') "
        "if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


PIPELINE = """
name: sales
stages: [only]
jobs:
  - name: read
    stage: only
    kind: Query
    params: {connection: sales, sql: "SELECT '${{ run.day }}'", parameters: {day: "${{ run.day }}"}}
"""


def test_a_template_in_sql_is_refused_in_words() -> None:
    with pytest.raises(Invalid) as caught:
        parse_pipeline(
            PIPELINE.encode(), yaml=True, kinds=installed_kinds(), check_schedule=check_schedule
        )
    (problem,) = caught.value.problems
    assert problem.path == "jobs[0].params.sql"
    assert "its value would decide what the database executes" in problem.message
    assert problem.hint is not None
    assert "parameters: {value: TEMPLATE}" in problem.hint
