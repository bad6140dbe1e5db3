"""Decides what `Query` makes of a real MariaDB, which speaks MySQL's protocol."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest
import trio

from bench.servers.databases import MariaDBServer
from control.model.errors import JobFailed
from control.model.worker.settings import SecretUrl
from tests.workers.kind_runs import Runs


@pytest.fixture
def sales(query: Callable[..., Runs], mariadb: MariaDBServer) -> Runs:
    return query(sales=SecretUrl(mariadb.url, mariadb.password))


async def ask(sales: Runs, sql: str, **more: object) -> dict[str, object]:
    output = await sales(connection="sales", sql=sql, **more)
    assert isinstance(output, dict)
    return output


async def failure(sales: Runs, sql: str, **more: object) -> JobFailed:
    with pytest.raises(JobFailed) as caught:
        await ask(sales, sql, **more)
    return caught.value


LOSSLESS = [
    ("1", 1, "int"),
    ("9007199254740993", "9007199254740993", "bigint"),
    ("CAST(2.5 AS DECIMAL(9, 2))", "2.50", "decimal"),
    ("CAST(0.1 AS DOUBLE)", 0.1, "double"),
    ("'grün'", "grün", "varchar"),
    ("x'00ff'", {"base64": "AP8="}, "varchar"),
    ("DATE '2026-01-31'", "2026-01-31", "date"),
    ("TIMESTAMP '2026-01-31 12:30:00.5'", "2026-01-31T12:30:00.500000", "datetime"),
    ("CAST('-26:00:01' AS TIME)", "-26:00:01", "time"),
    ("NULL", None, "null"),
]


async def test_no_value_loses_anything(sales: Runs) -> None:
    output = await ask(sales, "SELECT " + ", ".join(expression for expression, _, _ in LOSSLESS))
    rows, columns = output["rows"], output["columns"]
    assert isinstance(rows, list)
    assert isinstance(columns, list)
    values = zip(rows[0], (each["type"] for each in columns), strict=True)
    assert [*values] == [(value, kind) for _, value, kind in LOSSLESS]


@pytest.mark.parametrize("text", ["'; DROP TABLE hostile; --", "\\' OR 1=1 #", "%s %(a)s :a", '"'])
async def test_hostile_text_is_data(sales: Runs, text: str) -> None:
    output = await ask(sales, "SELECT :text, '100%'", parameters={"text": text})
    assert output["rows"] == [[text, "100%"]]


async def test_changes_are_committed_and_counted(sales: Runs) -> None:
    await ask(sales, "CREATE OR REPLACE TABLE orders (id INT PRIMARY KEY, total DECIMAL(9, 2))")
    sql = (
        "INSERT INTO orders SELECT id, 2.5 FROM "
        "JSON_TABLE(:ids, '$[*]' COLUMNS (id INT PATH '$')) AS ids"
    )
    assert (await ask(sales, sql, parameters={"ids": [1, 2, 3]}))["row_count"] == 3
    output = await ask(sales, "DELETE FROM orders WHERE id > 1 RETURNING id", limit=1)
    assert (output["row_count"], output["truncated"]) == (1, True)
    output = await ask(sales, "SELECT sum(total) FROM orders")
    assert output["rows"] == [["2.50"]]


async def test_an_error_says_whether_to_try_again(
    sales: Runs, query: Callable[..., Runs], mariadb: MariaDBServer
) -> None:
    wrong = await failure(sales, "SELECT\n 1 FROM nowhere")
    assert "Table 'sales.nowhere' doesn't exist (error 1146)" in str(wrong)
    assert wrong.final
    syntax = await failure(sales, "SELECT 1;\n SELECT 2")
    assert "at line 2 (error 1064)" in str(syntax)
    assert syntax.final
    denied = await failure(query(sales=SecretUrl(mariadb.url, "wr0ng-s3cret")), "SELECT 1")
    assert str(denied).startswith("no connection to sales: Access denied for user 'ann'")
    assert denied.final
    lost = await failure(query(sales="mysql://ann:s3cret@127.0.0.1:1/sales"), "SELECT 1")
    assert "(error 2003)" in str(lost)
    assert not lost.final


async def test_a_huge_result_is_cut_and_its_statement_ends(sales: Runs) -> None:
    columns = "information_schema.columns"
    sql = f"SELECT repeat('x', 1000) FROM {columns} a, {columns} b, {columns} c"
    result = await sales.raw({"connection": "sales", "sql": sql, "limit": 1_000_000})
    output = json.loads(bytes(result.output))
    assert output["truncated"]
    assert 900 < output["row_count"] == len(output["rows"])
    await ended(sales)


async def ended(sales: Runs) -> None:
    """Return when no other connection executes anything."""
    sql = (
        "SELECT id FROM information_schema.processlist "
        "WHERE command = 'Query' AND user = 'ann' AND id <> connection_id()"
    )
    with trio.fail_after(60):
        while (await ask(sales, sql))["row_count"]:
            await trio.lowlevel.checkpoint()


async def test_a_cancelled_statement_ends_on_the_server(sales: Runs) -> None:
    sql = "SELECT count(*) FROM information_schema.processlist WHERE state = 'User sleep'"
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sales.raw, {"connection": "sales", "sql": "SELECT sleep(600)"})
            while (await ask(sales, sql))["rows"] != [[1]]:
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
    await ended(sales)


class Relay:
    """Forwards between clients and a server, until it does not; connections stay open then."""

    def __init__(self, port: int, listening: socket.socket) -> None:
        self._port = port
        self._listening = listening
        self._stack = ExitStack()
        self.forwards = True
        self.port = listening.getsockname()[1]
        self.left = threading.Semaphore(0)  # One for each direction that has ended.
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._port))
            for source, target in ((client, server), (server, client)):
                self._stack.enter_context(source)
                threading.Thread(target=self._forward, args=(source, target), daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):  # Either end may be closed by now.
            while data := source.recv(65_536):
                if self.forwards:
                    target.sendall(data)
        self.left.release()

    def close(self) -> None:
        self._listening.close()
        self._stack.close()


@contextmanager
def relay(port: int) -> Iterator[Relay]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        made = Relay(port, listening)
        try:
            yield made
        finally:
            made.close()


async def test_a_server_that_vanished_holds_neither_job_nor_connection(
    sales: Runs, query: Callable[..., Runs], mariadb: MariaDBServer
) -> None:
    sql = "SELECT count(*) FROM information_schema.processlist WHERE state = 'User sleep'"
    with relay(mariadb.port) as between, trio.fail_after(60):
        url = mariadb.url.replace(str(mariadb.port), str(between.port))
        runs = query(sales=SecretUrl(url, mariadb.password))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(runs.raw, {"connection": "sales", "sql": "SELECT sleep(20)"})
            while (await ask(sales, sql))["rows"] != [[1]]:
                await trio.lowlevel.checkpoint()
            between.forwards = False
            nursery.cancel_scope.cancel()
        for _ in range(2):  # The statement's connection, and the one that was to cancel it.
            assert await trio.to_thread.run_sync(lambda: between.left.acquire(timeout=15))
