"""Decides what `Query` makes of PostgreSQL: values, errors, and statements that end there."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import trio

from bench.servers.databases import PostgreSQLServer
from control.model import limits
from control.model.errors import JobFailed
from control.model.worker.settings import SecretUrl
from tests.workers.kind_runs import Runs, details

ROOT = Path(__file__).parents[3]
Rows = list[tuple[object, ...]]


def connected(server: PostgreSQLServer) -> psycopg.Connection[tuple[object, ...]]:
    """A connection of another client."""
    words = server.url.replace("+psycopg", "")
    return psycopg.connect(words, password=server.password)


@pytest.fixture
def ask(postgresql: PostgreSQLServer) -> Iterator[Callable[..., Rows]]:
    """Asks the server without the kind, as its operator does."""
    with connected(postgresql) as connection:
        connection.autocommit = True

        def asked(sql: str, *values: object) -> Rows:
            cursor = connection.execute(sql.encode(), values or None)
            return cursor.fetchall() if cursor.description else []

        yield asked


@pytest.fixture
def sales(query: Callable[..., Runs], postgresql: PostgreSQLServer) -> Runs:
    return query(sales=SecretUrl(postgresql.url, postgresql.password))


async def rows(sales: Runs, sql: str, **more: object) -> list[list[object]]:
    output = await sales(connection="sales", sql=sql, **more)
    assert isinstance(output, dict)
    read: list[list[object]] = output["rows"]
    return read


async def failure(sales: Runs, sql: str, **parameters: object) -> JobFailed:
    with pytest.raises(JobFailed) as caught:
        await sales(connection="sales", sql=sql, parameters=parameters)
    return caught.value


async def test_rows_and_their_columns(sales: Runs) -> None:
    sql = "SELECT id, name FROM (VALUES (1, :first), (2, 'b')) AS t (id, name) WHERE id < :most"
    result = await sales.raw(
        {"connection": "sales", "sql": sql, "parameters": {"first": "a'; --", "most": 3}}
    )
    assert json.loads(bytes(result.output)) == {
        "columns": [{"name": "id", "type": "integer"}, {"name": "name", "type": "text"}],
        "rows": [[1, "a'; --"], [2, "b"]],
        "row_count": 2,
        "truncated": False,
    }
    more = details(result)
    assert more.pop("seconds") >= 0
    assert more == {
        "connection": "sales",
        "statement": sql,
        "columns": [{"name": "id", "type": "integer"}, {"name": "name", "type": "text"}],
        "row_count": 2,
        "rows": [[1, "a'; --"], [2, "b"]],
        "truncated": False,
    }
    assert sales.report.text.startswith("sales: 2 rows in 0.")


LOSSLESS = [
    ("true", True, "boolean"),
    ("NULL::int", None, "integer"),
    ("9007199254740991", 9007199254740991, "bigint"),
    ("9007199254740993", "9007199254740993", "bigint"),
    ("0.1::float8", 0.1, "double precision"),
    ("'NaN'::float8", "NaN", "double precision"),
    ("'-Infinity'::float4", "-Infinity", "real"),
    ("12.50::numeric(9,2)", "12.50", "numeric(9,2)"),
    ("'NaN'::numeric", "NaN", "numeric"),
    ("1e30::numeric", "1" + 30 * "0", "numeric"),
    ("'grün'::varchar(9)", "grün", "character varying(9)"),
    (r"'\x00ff'::bytea", {"base64": "AP8="}, "bytea"),
    ("'2026-01-31'::date", "2026-01-31", "date"),
    ("'infinity'::date", "infinity", "date"),
    ("'0044-03-15 BC'::date", "0044-03-15 BC", "date"),
    ("'12:30'::time", "12:30:00", "time without time zone"),
    (
        "'2026-01-31 12:30:00.5'::timestamp",
        "2026-01-31T12:30:00.5",
        "timestamp without time zone",
    ),
    (
        "timezone('UTC', '2026-01-31 12:30'::timestamp)::text::timestamptz AT TIME ZONE 'UTC'",
        "2026-01-31T12:30:00",
        "timestamp without time zone",
    ),
    ("'-infinity'::timestamptz", "-infinity", "timestamp with time zone"),
    ("'1 month 2 days'::interval", "1 mon 2 days", "interval"),
    ("'[1e999]'::json", "[1e999]", "json"),
    ("'{\"a\": [1, 2.50]}'::jsonb", {"a": [1, 2.5]}, "jsonb"),
    ("ARRAY['2026-01-31'::date, NULL]", ["2026-01-31", None], "date[]"),
    ("ARRAY[[1, 2], [3, 4]]", [[1, 2], [3, 4]], "integer[]"),
    (
        "'6f7ebd45-0fbd-4c4f-8d0a-4f2a3cb9f9a3'::uuid",
        "6f7ebd45-0fbd-4c4f-8d0a-4f2a3cb9f9a3",
        "uuid",
    ),
    ("'10.0.0.0/8'::inet", "10.0.0.0/8", "inet"),
    ("int4range(1, 5)", "[1,5)", "int4range"),
    ("ROW(1, 'a')", "(1,a)", "record"),
]


async def test_no_value_loses_anything(sales: Runs) -> None:
    sql = "SELECT " + ", ".join(expression for expression, _, _ in LOSSLESS)
    output = await sales(connection="sales", sql=sql)
    assert isinstance(output, dict)
    values = zip(output["rows"][0], (each["type"] for each in output["columns"]), strict=True)
    assert [*values] == [(value, kind) for _, value, kind in LOSSLESS]


async def test_an_instant_has_its_zone(sales: Runs) -> None:
    ((at,),) = await rows(sales, "SELECT '2026-01-31 12:30+02'::timestamptz")
    assert at == "2026-01-31T10:30:00+00:00"


async def test_an_empty_result_has_its_columns(sales: Runs) -> None:
    output = await sales(connection="sales", sql="SELECT 1 AS a, 'x' AS a WHERE false")
    assert output == {
        "columns": [{"name": "a", "type": "integer"}, {"name": "a", "type": "text"}],
        "rows": [],
        "row_count": 0,
        "truncated": False,
    }


async def test_what_changes_something_is_committed_and_counted(
    sales: Runs, ask: Callable[..., Rows]
) -> None:
    made = await sales(connection="sales", sql="CREATE TABLE counted (id int PRIMARY KEY)")
    assert made == {"columns": [], "rows": [], "row_count": None, "truncated": False}
    sql = "INSERT INTO counted SELECT generate_series(1, :n)"
    output = await sales(connection="sales", sql=sql, parameters={"n": 500})
    assert isinstance(output, dict)
    assert output["row_count"] == 500
    assert ask("SELECT count(*) FROM counted") == [(500,)]


async def test_rows_beyond_the_limit_are_counted_out_but_changed(
    sales: Runs, ask: Callable[..., Rows]
) -> None:
    await sales(connection="sales", sql="CREATE TABLE more AS SELECT generate_series(1, 900) AS i")
    sql = "UPDATE more SET i = i + 1 RETURNING i"
    output = await sales(connection="sales", sql=sql, limit=2)
    assert isinstance(output, dict)
    assert (output["row_count"], output["truncated"], len(output["rows"])) == (2, True, 2)
    assert "there are more" in sales.report.text
    assert ask("SELECT min(i) FROM more") == [(2,)]


async def test_a_query_whose_functions_change_something_is_executed_to_its_end(
    sales: Runs, ask: Callable[..., Rows]
) -> None:
    for sql in (
        "CREATE TABLE archived (i integer)",
        "CREATE FUNCTION archive(i integer) RETURNS integer LANGUAGE sql VOLATILE "
        "AS 'INSERT INTO archived VALUES (i) RETURNING i'",
    ):
        await sales(connection="sales", sql=sql)
    sql = "SELECT archive(i) FROM generate_series(1, 20000) AS i"
    output = await sales(connection="sales", sql=sql, limit=2)
    assert isinstance(output, dict)
    assert (output["row_count"], output["truncated"]) == (2, True)
    assert ask("SELECT count(*) FROM archived") == [(20_000,)]


async def test_a_huge_result_is_cut_and_its_statement_ends(
    sales: Runs, ask: Callable[..., Rows]
) -> None:
    sql = "SELECT repeat('x', 1000) FROM pg_class a, pg_class b, pg_class c, pg_class d"
    result = await sales.raw({"connection": "sales", "sql": sql, "limit": 1_000_000})
    assert 0.9 * limits.OUTPUT_BYTES_MAX < len(bytes(result.output)) <= limits.OUTPUT_BYTES_MAX
    output = json.loads(bytes(result.output))
    assert output["truncated"]
    assert output["row_count"] == len(output["rows"]) > 900
    assert ask(ACTIVE, "taskplane%") == []
    error = await failure(sales, f"SELECT repeat('x', {limits.OUTPUT_BYTES_MAX})")
    assert error.final
    assert "the first row has" in str(error)


async def test_lists_and_objects_are_bound_as_json(sales: Runs) -> None:
    sql = "SELECT sum(value::int) FROM jsonb_array_elements_text(:ids)"
    assert await rows(sales, sql, parameters={"ids": [1, 2, 39]}) == [[42]]


@pytest.mark.parametrize(
    "text",
    ["'; DROP TABLE hostile; --", ":id $1 %s %(x)s %", "\\", "${{ run }}", "\U0001f600\u202e", "'"],
)
async def test_hostile_text_is_data(sales: Runs, text: str) -> None:
    sql = "SELECT :text::text, '100% \\:nothing', 1"
    assert await rows(sales, sql, parameters={"text": text}) == [[text, "100% :nothing", 1]]


async def test_a_text_that_no_text_can_hold_is_refused(sales: Runs) -> None:
    error = await failure(sales, "SELECT :text", text="a\0b")
    assert error.final
    assert "NUL" in str(error)


@pytest.mark.parametrize(
    ("sql", "words", "final"),
    [
        (
            "SELECT :a,\n  :b, :a FROM\n  nowhere",
            'relation "nowhere" does not exist (SQLSTATE 42P01), at line 3, column 3 of sql',
            True,
        ),
        (
            "SELECT :a::int, 'x\\:y'::text, b WHERE :b = '1'",
            'column "b" does not exist (SQLSTATE 42703), at line 1, column 31 of sql',
            True,
        ),
        ("SELEC :a, :b", 'syntax error at or near "SELEC" (SQLSTATE 42601)', True),
        ("SELECT 1/0 WHERE :a = :b", "division by zero (SQLSTATE 22012)", True),
        ("SELECT :a; SELECT :b", "multiple commands", True),
        (
            "DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '40001', HINT = 'again'; END $$",
            "no (SQLSTATE 40001); hint: again",
            False,
        ),
        ("COPY pg_class TO STDOUT", "COPY", True),
    ],
)
async def test_an_error_says_where_and_whether_to_try_again(
    sales: Runs, sql: str, words: str, final: bool
) -> None:
    parameters = {"a": "1", "b": "1"} if ":a" in sql else {}
    error = await failure(sales, sql, **parameters)
    assert words in str(error)
    assert error.final is final


async def test_a_broken_constraint_has_its_detail(sales: Runs) -> None:
    await sales(connection="sales", sql="CREATE TABLE one (id int PRIMARY KEY)")
    await sales(connection="sales", sql="INSERT INTO one VALUES (1)")
    error = await failure(sales, "INSERT INTO one VALUES (:id)", id=1)
    assert "(SQLSTATE 23505); detail: Key (id)=(1) already exists." in str(error)


async def test_bad_credentials_are_final_and_stay_secret(
    query: Callable[..., Runs], postgresql: PostgreSQLServer
) -> None:
    wrong = query(sales=SecretUrl(postgresql.url, "wr0ng-s3cret"))
    error = await failure(wrong, "SELECT 1")
    assert str(error).startswith("no connection to sales: ")
    assert 'password authentication failed for user "ann"' in str(error)
    assert "wr0ng" not in str(error)
    assert error.final


async def test_an_unreachable_server_may_be_tried_again(query: Callable[..., Runs]) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"postgresql://ann:s3cret@127.0.0.1:{closed.getsockname()[1]}/sales"
        error = await failure(query(sales=url), "SELECT 1")
    assert "refused" in str(error)
    assert "s3cret" not in str(error)
    assert not error.final


ACTIVE = "SELECT pid FROM pg_stat_activity WHERE state = 'active' AND application_name LIKE %s"


async def active(ask: Callable[..., Rows], *, job: int = 1, wait: str = "%") -> int:
    """The server's process that executes a job's statement, as soon as it waits for that."""
    sql = f"{ACTIVE} AND wait_event LIKE %s"
    with trio.fail_after(60):
        # A server offers no signal for it.
        while not (pids := ask(sql, f"taskplane run 7 job {job} attempt 1", wait)):  # noqa: ASYNC110
            await trio.sleep(0.01)
    ((pid,),) = pids
    assert isinstance(pid, int)
    return pid


async def ended(ask: Callable[..., Rows], pid: int) -> None:
    with trio.fail_after(60):
        sql = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND state = 'active'"
        while ask(sql, pid):  # noqa: ASYNC110 - As above.
            await trio.sleep(0.01)


SLEEP = {"connection": "sales", "sql": "SELECT pg_sleep(:s)", "parameters": {"s": 600}}
IN_BLOCK = {"connection": "sales", "sql": "DO $$ BEGIN PERFORM pg_sleep(600); END $$"}


@pytest.mark.parametrize("params", [SLEEP, IN_BLOCK])
async def test_a_cancelled_statement_ends_on_the_server(
    sales: Runs, ask: Callable[..., Rows], params: object
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sales.raw, params)
        pid = await active(ask, wait="PgSleep")
        nursery.cancel_scope.cancel()
    await ended(ask, pid)


async def test_a_statement_that_times_out_while_it_waits_for_a_lock_ends_on_the_server(
    sales: Runs, ask: Callable[..., Rows], postgresql: PostgreSQLServer
) -> None:
    ask("CREATE TABLE locked AS SELECT 1 AS i")
    with connected(postgresql) as other:
        other.execute("LOCK TABLE locked")
        with trio.CancelScope() as limit:
            async with trio.open_nursery() as nursery:
                params = {"connection": "sales", "sql": "SELECT i FROM locked"}
                nursery.start_soon(sales.raw, params)
                pid = await active(ask, wait="relation")
                limit.deadline = trio.current_time()
        assert limit.cancelled_caught
        await ended(ask, pid)


async def test_a_server_that_hangs_does_not_hold_the_job(
    sales: Runs, ask: Callable[..., Rows]
) -> None:
    pid = 0
    try:
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(sales.raw, SLEEP)
                pid = await active(ask, wait="PgSleep")
                os.kill(pid, signal.SIGSTOP)
                nursery.cancel_scope.cancel()
    finally:
        os.kill(pid, signal.SIGCONT)
    await ended(ask, pid)


async def test_a_job_that_is_cancelled_while_it_connects_ends(query: Callable[..., Runs]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://ann@127.0.0.1:{silent.getsockname()[1]}/sales?connect_timeout=2"
        runs = query(slow=url)
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(runs.raw, {"connection": "slow", "sql": "SELECT 1"})
                accepted, _ = await trio.to_thread.run_sync(silent.accept)
                nursery.cancel_scope.cancel()
        accepted.close()


KILLED = """
import pathlib, sys, tempfile, trio
from control.model.worker.settings import SecretUrl, WorkerSettings
from tests.workers.kind_runs import Runs, details
from workers.kinds.query.kind import Query
kind = Query()
kind.configure(WorkerSettings(connections={"sales": SecretUrl(sys.argv[1], sys.stdin.readline())}))
runs = Runs(kind, pathlib.Path(sys.argv[2]))
trio.run(runs.raw, {"connection": "sales", "sql": "SELECT pg_sleep(600)"})
"""


async def test_a_statement_ends_when_its_worker_is_killed(
    ask: Callable[..., Rows], postgresql: PostgreSQLServer, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", KILLED, postgresql.url, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, cwd=ROOT) as worker:  # noqa: ASYNC220 - It returns at once.
        assert worker.stdin is not None
        worker.stdin.write(postgresql.password.encode())
        worker.stdin.close()
        pid = await active(ask, wait="PgSleep")
        worker.kill()
    await ended(ask, pid)
