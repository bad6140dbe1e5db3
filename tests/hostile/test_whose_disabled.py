"""Decides that a client that may start nothing (any more) starts nothing, and that this shows."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from control.model.states import Role
from tests.api.serving import PIPELINE, Serving, serving
from tests.hostile.test_whose_triggers import definition, put, runs_of

BARRED = [
    ({"enabled": False}, "ann is disabled"),
    ({"role": "viewer"}, "ann has the role viewer"),
    ({"role": "worker"}, "ann has the role worker"),
]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Serving]:
    async with serving(tmp_path) as found:
        await found.add_client("ann", Role.SUBMITTER)
        yield found


async def change(server: Serving, **changes: str | bool) -> None:
    async with server.as_client("admin") as admin:
        answer = await admin.patch("/v1/clients/ann", json=changes)
        assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(("changes", "words"), BARRED)
async def test_triggers_start_nothing(server: Serving, changes: dict[str, Any], words: str) -> None:
    await put(server, "ann", definition("next"))
    await put(server, "ann", definition("first", "next"))
    async with server.as_client("ann") as ann:
        run_id = (await ann.post("/v1/pipelines/first/runs")).json()["id"]
    await change(server, **changes)
    async with server.as_client("operator") as operator:
        run = (await operator.post(f"/v1/runs/{run_id}/cancel")).json()
    assert not await runs_of(server, "next")
    assert "next was not started" in run["reason"]
    assert words in run["reason"]


@pytest.mark.parametrize(("changes", "words"), BARRED)
async def test_schedules_say_why_they_start_nothing(
    server: Serving, changes: dict[str, Any], words: str
) -> None:
    body = {**PIPELINE, "schedules": [{"cron": "* * * * *"}]}
    await put(server, "ann", body)
    await change(server, **changes)
    async with server.as_client("operator") as operator:
        (schedule,) = (await operator.get("/v1/schedules")).json()["items"]
        assert words in schedule["reason"]
        assert schedule["next_at"] is None
        path = f"/v1/schedules/{schedule['id']}"
        triggered = await operator.post(f"{path}/trigger")
        assert triggered.status_code == 409
        assert words in triggered.json()["detail"]
        stretch = {"from": "2026-11-01T00:00:00Z", "until": "2026-11-01T00:05:00Z"}
        assert (await operator.post(f"{path}/backfill", json=stretch)).status_code == 409
        assert not (await operator.get("/v1/scheduled-runs")).json()["items"]
    await change(server, enabled=True, role="submitter")
    async with server.as_client("operator") as operator:
        (schedule,) = (await operator.get("/v1/schedules")).json()["items"]
        assert schedule["reason"] is None


async def test_nobody_retries_a_run_of_a_client_that_may_start_nothing(server: Serving) -> None:
    await put(server, "ann", definition("first"))
    async with server.as_client("ann") as ann:
        run_id = (await ann.post("/v1/pipelines/first/runs")).json()["id"]
        await ann.post(f"/v1/runs/{run_id}/cancel")
    await change(server, enabled=False)
    async with server.as_client("operator") as operator:
        answer = await operator.post(f"/v1/runs/{run_id}/retry")
    assert answer.status_code == 409
    assert "ann is disabled" in answer.json()["detail"]


async def test_an_operator_ends_what_a_disabled_client_left(server: Serving) -> None:
    await put(server, "ann", definition("first"))
    async with server.as_client("ann") as ann:
        run_id = (await ann.post("/v1/pipelines/first/runs")).json()["id"]
    await change(server, enabled=False)
    async with server.as_client("operator") as operator:
        run = (await operator.get(f"/v1/runs/{run_id}")).json()
        assert run["state"] == "READY"  # It goes on.
        answer = await operator.post(f"/v1/runs/{run_id}/cancel")
    assert answer.json()["state"] == "CANCELLED"
