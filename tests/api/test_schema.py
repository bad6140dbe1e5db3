"""Lets schemathesis call everything that the OpenAPI document speaks of.

No answer may be a server's error, or one that the document does not tell of.
"""

import subprocess
import sys
from pathlib import Path

import pytest
import trio

from tests.api.serving import PIPELINE, SECRET, Serving

# A definition that fits the schema may still be wrong: a stage nobody listed, a circle of needs.
EXCLUDED = "positive_data_acceptance"


async def visit(server: Serving, folder: Path, *selection: str) -> None:
    done = await trio.run_process(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run"),
            f"{server.url}/schema/openapi.json",
            *("--auth", f"admin:{SECRET}", "--exclude-checks", EXCLUDED),
            *("--phases", "examples,coverage,fuzzing", "--max-examples", "10"),
            *("--generation-deterministic", "--request-timeout", "30", "--no-color"),
            *selection,
        ],
        check=False,
        cwd=folder,  # It leaves files behind.
        capture_stdout=True,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == 0, done.stdout.decode()[-5_000:]


@pytest.mark.slow
async def test_answers_are_as_documented(server: Serving, tmp_path: Path) -> None:
    scheduled = PIPELINE | {"schedules": [{"cron": "0 * * * *"}]}
    async with server.as_client("admin") as client:
        await client.put("/v1/pipelines/nightly-report", json=scheduled)
        await client.post("/v1/pipelines/nightly-report/runs")
    await visit(server, tmp_path, "--exclude-path-regex", "^/v1/clients/|/logs$")
    # Last, because these change the secret of whoever calls.
    await visit(server, tmp_path, "--include-path-regex", "^/v1/clients/|/logs$")
