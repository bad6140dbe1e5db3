"""Decides what `Query` makes of SQLite: only values have types, and no other file is opened."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
import trio.testing

from control.model.errors import JobFailed
from tests.workers.kind_runs import Runs, details


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "sales.db"


@pytest.fixture
def sales(query: Callable[..., Runs], file: Path) -> Runs:
    return query(sales=f"sqlite:///{file}?timeout=0.1")


async def ask(sales: Runs, sql: str, **more: object) -> dict[str, object]:
    output = await sales(connection="sales", sql=sql, **more)
    assert isinstance(output, dict)
    return output


async def failure(sales: Runs, sql: str, **more: object) -> JobFailed:
    with pytest.raises(JobFailed) as caught:
        await sales(connection="sales", sql=sql, **more)
    return caught.value


async def test_values_tell_a_columns_type(sales: Runs) -> None:
    sql = (
        "SELECT 1 AS a, 2.5 AS b, :text AS c, x'00ff' AS d, NULL AS e, 9007199254740993 AS f, 1e999"
        " UNION ALL SELECT 'x', 1, NULL, CAST(x'ff61' AS TEXT), NULL, 1, 0.5"
    )
    output = await ask(sales, sql, parameters={"text": "a'; -- %s"})
    assert output["rows"] == [
        [1, 2.5, "a'; -- %s", {"base64": "AP8="}, None, "9007199254740993", "Infinity"],
        ["x", 1, None, {"base64": "/2E="}, None, 1, 0.5],
    ]
    assert isinstance(output["columns"], list)
    types = [each["type"] for each in output["columns"]]
    assert types == ["integer or text", "real or integer", "text", "blob", "", "integer", "real"]


async def test_changes_are_committed_and_counted(sales: Runs, file: Path) -> None:
    await ask(sales, "CREATE TABLE orders (id INTEGER PRIMARY KEY, total REAL)")
    sql = "INSERT INTO orders SELECT value, value * 1.5 FROM json_each(:ids)"
    assert (await ask(sales, sql, parameters={"ids": [1, 2, 3]}))["row_count"] == 3
    output = await ask(sales, "UPDATE orders SET total = 0 RETURNING id", limit=1)
    assert (output["rows"], output["truncated"]) == ([[1]], True)
    with sqlite3.connect(file) as other:
        assert other.execute("SELECT sum(total), count(*) FROM orders").fetchall() == [(0, 3)]
    other.close()
    await ask(sales, "VACUUM")


async def test_an_error_says_whether_to_try_again(sales: Runs, file: Path) -> None:
    wrong = await failure(sales, "SELEC 1")
    assert str(wrong) == 'the statement failed: near "SELEC": syntax error (SQLITE_ERROR)'
    assert wrong.final
    assert details(wrong)["statement"] == "SELEC 1"
    several = await failure(sales, "SELECT 1; SELECT 2")
    assert "one statement at a time" in str(several)
    assert several.final
    large = await failure(sales, "SELECT :n", parameters={"n": 2**63})
    assert "a parameter does not fit" in str(large)
    await ask(sales, "CREATE TABLE t (id INTEGER)")
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    busy = await failure(sales, "SELECT * FROM t")
    other.close()
    assert "database is locked (SQLITE_BUSY)" in str(busy)
    assert not busy.final


@pytest.mark.parametrize("sql", ["ATTACH '{}' AS other", "VACUUM INTO '{}'"])
async def test_no_other_file_is_opened(sales: Runs, tmp_path: Path, sql: str) -> None:
    file = tmp_path / "other.db"
    assert "(SQLITE_AUTH)" in str(await failure(sales, sql.format(file)))
    assert not file.exists()


async def test_only_harmless_pragmas_are_taken(sales: Runs, tmp_path: Path) -> None:
    for sql in (f"temp_store_directory = '{tmp_path}'", "HARD_HEAP_LIMIT = 1", "locking_mode"):
        assert "(SQLITE_AUTH)" in str(await failure(sales, f"PRAGMA {sql}"))
    await ask(sales, "CREATE TABLE t (id INTEGER)")
    assert (await ask(sales, "SELECT name FROM pragma_table_info('t')"))["rows"] == [["id"]]
    await ask(sales, "PRAGMA User_Version = 3")
    assert (await ask(sales, "PRAGMA user_version"))["rows"] == [[3]]


async def test_a_cancelled_statement_ends(sales: Runs) -> None:
    endless = (
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
    )
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sales.raw, {"connection": "sales", "sql": endless})
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
