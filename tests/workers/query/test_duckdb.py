"""Decides what `Query` makes of DuckDB: files of named directories only, values without loss."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from control.model.errors import JobFailed
from tests.workers.kind_runs import Recorder, Runs, details


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    directory = tmp_path / "shared"
    directory.mkdir()
    return directory


@pytest.fixture
def files(query: Callable[..., Runs], shared: Path) -> Runs:
    return query(files=f"duckdb://?directory={shared}", alone="duckdb://")


async def ask(
    files: Runs, sql: str, connection: str = "files", **more: object
) -> dict[str, object]:
    output = await files(connection=connection, sql=sql, **more)
    assert isinstance(output, dict)
    return output


async def failure(files: Runs, sql: str, **more: object) -> JobFailed:
    with pytest.raises(JobFailed) as caught:
        await ask(files, sql, **more)  # type: ignore[arg-type]
    return caught.value


async def test_rows_of_parquet_csv_and_json_files(files: Runs, shared: Path) -> None:
    (shared / "a.csv").write_text("id,name\n1,ann\n2,bob\n")
    (shared / "b.json").write_text('[{"id": 1, "total": 2.5}]')
    made = await ask(files, f"COPY (SELECT 1 AS id, 9 AS score) TO '{shared}/c.parquet'")
    assert made["row_count"] == 1
    sql = (
        f"SELECT name, total, score FROM '{shared}/a.csv' JOIN '{shared}/b.json' USING (id) "
        f"JOIN '{shared}/c.parquet' USING (id) WHERE name = :name::varchar"
    )
    output = await ask(files, sql, parameters={"name": "ann"})
    assert output == {
        "columns": [
            {"name": "name", "type": "VARCHAR"},
            {"name": "total", "type": "DOUBLE"},
            {"name": "score", "type": "INTEGER"},
        ],
        "rows": [["ann", 2.5, 9]],
        "row_count": 1,
        "truncated": False,
    }


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_text('{other}')",
        "SELECT * FROM read_text('{shared}/../other')",
        "COPY (SELECT 1) TO '{other}'",
        "ATTACH '{other}'",
        "INSTALL httpfs",
        "SET allowed_directories = ['/']",
        "SET enable_external_access = true",
        "RESET lock_configuration",
    ],
)
async def test_other_files_are_out_of_reach(
    files: Runs, shared: Path, tmp_path: Path, sql: str
) -> None:
    other = tmp_path / "other"
    other.write_text("secret")
    for connection in ("files", "alone"):
        error = await failure(files, sql.format(other=other, shared=shared), connection=connection)
        assert "secret" not in str(error)
        assert error.final
    assert other.read_text() == "secret"
    await failure(files, f"SELECT * FROM read_text('{shared}/x')", connection="alone")


UUID = "6f7ebd45-0fbd-4c4f-8d0a-4f2a3cb9f9a3"
LOSSLESS = [
    ("1::UTINYINT", 1, "UTINYINT"),
    (f"{2**127 - 1}", f"{2**127 - 1}", "HUGEINT"),
    ("2.50::DECIMAL(9,2)", "2.50", "DECIMAL(9,2)"),
    ("'nan'::DOUBLE", "NaN", "DOUBLE"),
    ("'\\x00\\xFF'::BLOB", {"base64": "AP8="}, "BLOB"),
    ("DATE '0044-03-15 (BC)'", "0044-03-15 (BC)", "DATE"),
    ("DATE '2026-01-31'", "2026-01-31", "DATE"),
    ("TIMESTAMP 'infinity'", "infinity", "TIMESTAMP"),
    (
        "TIMESTAMP_NS '2026-01-31 12:00:00.123456789'",
        "2026-01-31T12:00:00.123456789",
        "TIMESTAMP_NS",
    ),
    ("INTERVAL 1 MONTH", "1 month", "INTERVAL"),
    ("TIME '01:02:03'", "01:02:03", "TIME"),
    ("{'a': INTERVAL 2 DAY, 'b': 1}", {"a": "2 days", "b": 1}, "STRUCT(a INTERVAL, b INTEGER)"),
    ("{'a': 1.50::DECIMAL(3,2)}", {"a": "1.50"}, "STRUCT(a DECIMAL(3,2))"),
    (
        "{'a': DATE '2020-01-01', 'b': 'nan'::FLOAT}",
        '{"a":"2020-01-01","b":NaN}',
        "STRUCT(a DATE, b FLOAT)",
    ),
    ("MAP {'a': 1}", {"a": 1}, "MAP(VARCHAR, INTEGER)"),
    ("'{\"a\": [1]}'::JSON", {"a": [1]}, "JSON"),
    ("'[1e999]'::JSON", "[1e999]", "JSON"),
    ("'a'::ENUM ('a', 'b')", "a", "ENUM('a', 'b')"),
    (f"'{UUID}'::UUID", UUID, "UUID"),
    ("NULL", None, '"NULL"'),
]


async def test_no_value_loses_anything(files: Runs) -> None:
    sql = "SELECT " + ", ".join(expression for expression, _, _ in LOSSLESS) + "; -- no more"
    output = await ask(files, sql)
    rows, columns = output["rows"], output["columns"]
    assert isinstance(rows, list)
    assert isinstance(columns, list)
    values = zip(rows[0], (each["type"] for each in columns), strict=True)
    assert [*values] == [(value, kind) for _, value, kind in LOSSLESS]


@pytest.mark.parametrize("end", [";", " ; ;; ", "; -- ü;", " /* ü; */ ; /* */ -- '", " -- ;\n;"])
async def test_a_query_may_end_as_it_likes(files: Runs, end: str) -> None:
    output = await ask(files, f"SELECT 'ü; --', TIMESTAMP 'infinity'{end}")
    assert output["rows"] == [["ü; --", "infinity"]]


async def test_white_space_costs_no_time(files: Runs) -> None:
    with trio.fail_after(60):
        output = await ask(files, f"SELECT 1{100_000 * ' '}AS x; {100_000 * ' ;'}")
    assert output["rows"] == [[1]]


async def test_columns_have_the_names_that_the_statement_gives(files: Runs) -> None:
    for last in ("3", "DATE '2020-01-01'"):
        output = await ask(files, f"SELECT 1 AS a, 2 AS a, {last} AS A")
        assert isinstance(output["columns"], list)
        assert [each["name"] for each in output["columns"]] == ["a", "a", "A"]


async def test_jobs_share_a_file_and_count_what_they_change(
    query: Callable[..., Runs], tmp_path: Path
) -> None:
    runs = query(files=f"duckdb:///{tmp_path}/sales.duckdb")
    await ask(runs, "CREATE TABLE orders (id INTEGER, total DECIMAL(9,2))")
    rows = [[1, "2.50"], [2, "3.25"]]
    sql = (
        "INSERT INTO orders SELECT row->>0, row->>1 FROM "
        "(SELECT unnest(from_json(:rows, '[\"JSON\"]')) AS row)"
    )
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(lambda: ask(runs, sql, parameters={"rows": rows}))
    output = await ask(runs, "SELECT count(*), sum(total) FROM orders")
    assert output["rows"] == [[6, "17.25"]]
    assert (await ask(runs, "UPDATE orders SET total = 0"))["row_count"] == 6
    output = await ask(runs, "DELETE FROM orders RETURNING id", limit=1)
    assert output["truncated"]
    assert (await ask(runs, "SELECT * FROM orders"))["row_count"] == 0


async def test_an_error_says_where(files: Runs) -> None:
    wrong = await failure(files, "SELECT 1,\n 2 FROM nowhere")
    assert "LINE 2:  2 FROM nowhere" in str(wrong)
    assert "(CatalogException)" in str(wrong)
    assert wrong.final
    assert "sql has 2 statements" in str(await failure(files, "SELECT 1; SELECT 2"))


class Watched(Recorder):
    """A reporter that one may wait for."""

    def __init__(self) -> None:
        super().__init__()
        self.progressed = trio.Event()

    async def progress(self, fraction: float) -> None:
        await super().progress(fraction)
        self.progressed.set()


LONG = "SELECT count(*) FROM range(300000) a, range(:n) b WHERE (a.range * b.range) % 7 = 3"


async def test_progress_is_reported_and_a_cancelled_statement_ends(files: Runs) -> None:
    params = {"connection": "files", "sql": LONG, "parameters": {"n": 10_000_000}}
    files.report = Watched()
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(files.raw, params)
            await files.report.progressed.wait()
            nursery.cancel_scope.cancel()
    assert 0 <= files.report.fractions[0] < 1


async def test_a_huge_result_is_cut(files: Runs) -> None:
    result = await files.raw(
        {"connection": "files", "sql": "SELECT repeat('x', 1000) FROM range(1000000000)"}
        | {"limit": 1_000_000}
    )
    output = json.loads(bytes(result.output))
    assert output["truncated"]
    assert 900 < output["row_count"] == len(output["rows"])
    assert details(result)["rows"] == output["rows"][:10]
