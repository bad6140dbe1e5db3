"""Decides whether a client that others' tools generate from the OpenAPI document does its work."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import httpx
import pytest
import trio

from tests.api.serving import PIPELINE, SECRET, Serving


@pytest.mark.slow
async def test_a_generated_client_has_every_call_and_starts_a_run(
    server: Serving, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = Path(sys.executable).with_name("openapi-python-client")
    async with server.as_client("admin") as caller:
        described = await caller.get("/schema/openapi.json")
    (tmp_path / "openapi.json").write_bytes(described.content)
    done = await trio.run_process(
        [
            generator,
            "generate",
            "--path",
            "openapi.json",
            "--meta",
            "none",
            "--output-path",
            "generated",
        ],
        check=False,
        cwd=tmp_path,
        capture_stdout=True,
        stderr=subprocess.STDOUT,
    )
    assert (tmp_path / "generated" / "client.py").exists(), done.stdout.decode()[-5_000:]

    monkeypatch.syspath_prepend(tmp_path)
    client = import_module("generated.client").Client(
        base_url=server.url,
        httpx_args={"auth": httpx.BasicAuth("admin", SECRET)},
    )
    starting = import_module("generated.api.runs.start_unnamed_run")
    listing = import_module("generated.api.runs.list_runs")
    body = import_module("generated.models.start_unnamed").StartUnnamed.from_dict(
        {"pipeline": PIPELINE}
    )
    async with client:
        run = await starting.asyncio(client=client, body=body)
        page = await listing.asyncio(client=client)
    assert [each.id for each in page.items] == [run.id]

    calls = {
        operation["operationId"]
        for methods in described.json()["paths"].values()
        for operation in methods.values()
    }
    modules = {path.stem.replace("_", "") for path in (tmp_path / "generated/api").rglob("*.py")}
    assert {call for call in calls if call.lower() not in modules} == set()
