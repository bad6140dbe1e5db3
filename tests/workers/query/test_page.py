"""Decides that the example of `docs/kinds/query.md` works, from the worker's config to the file."""

import subprocess
import sys
from pathlib import Path

import duckdb
import psycopg
import pytest

from bench.servers.databases import PostgreSQLServer
from bench.servers.system import start_control, start_worker
from control.model.names import ENV_WORKER_CONFIG
from tests.e2e.blocks import blocks

pytestmark = pytest.mark.e2e

PAGE = Path(__file__).parents[3] / "docs" / "kinds" / "query.md"


def test_the_example_of_the_page(postgresql: PostgreSQLServer, tmp_path: Path) -> None:
    url = postgresql.url.replace("+psycopg", "")
    for block in blocks(PAGE):
        if block.file is not None:
            text = block.text.replace("postgresql://ann@db.example.com/sales", url)
            (tmp_path / block.file).write_text(text.replace("/srv/exports", str(tmp_path)), "utf-8")
    with psycopg.connect(url, password=postgresql.password) as connection:
        connection.execute("CREATE TABLE orders (customer text, total numeric(12, 2), day date)")
        connection.execute(
            "INSERT INTO orders VALUES ('ann', 2.50, '2026-01-31'), ('ann', 1, '2026-01-31'), "
            "('bob', 7, '2026-01-31'), ('bob', 9, '2026-01-30')"
        )
    data = tmp_path / "data"
    environ = {
        ENV_WORKER_CONFIG: str(tmp_path / "worker.toml"),
        "SALES_PASSWORD": postgresql.password,
    }
    command = [str(Path(sys.executable).parent / "tpctl"), "--data-dir", str(data)]
    command += ["run", "submit", "daily.yaml", "--input", '{"day": "2026-01-31"}', "--wait"]
    with start_control(data), start_worker(data, slots=1, name="local", environ=environ):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with duckdb.connect() as reader:
        exported = reader.execute(f"FROM '{tmp_path}/daily.parquet'").fetchall()
    assert [(customer, str(total)) for customer, total in exported] == [
        ("ann", "3.50"),
        ("bob", "7.00"),
    ]
