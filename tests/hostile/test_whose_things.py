"""Decides that a submitter sees and touches nothing of another's, through any call there is."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from control.api.auth.permissions import ROLES
from control.model.states import Role
from store import schedules
from tests.api.serving import NOW_MS, PIPELINE, Serving, serving

NAME = "bobs-secret-plans"
BODIES: dict[tuple[str, str], Any] = {
    ("PUT", "/v1/pipelines/{name}"): PIPELINE | {"name": NAME},
    ("POST", "/v1/schedules/{schedule_id}/backfill"): {
        "from": "2026-11-01T00:00:00Z",
        "until": "2026-11-01T00:05:00Z",
    },
    ("PATCH", "/v1/jobs/{job_id}"): {"priority": 1},
}
OPEN = {("GET", "/v1/health"), ("POST", "/v1/hooks/{token}"), ("GET", "/v1/partitions/{partition}")}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Serving]:
    """Bob has one of everything; eve has nothing."""
    async with serving(tmp_path) as found:
        for name in ("bob", "eve"):
            await found.add_client(name, Role.SUBMITTER)
        async with found.as_client("bob") as bob:
            body = PIPELINE | {"name": NAME, "schedules": [{"cron": "* * * * *"}] * 3}
            body["schedules"] = [{"cron": f"{at} * * * *"} for at in range(3)]
            assert (await bob.put(f"/v1/pipelines/{NAME}", json=body)).status_code == 201
            assert (await bob.post(f"/v1/pipelines/{NAME}/runs")).status_code == 201
            assert (await bob.post(f"/v1/pipelines/{NAME}/hooks")).status_code == 201
        rows = [(NOW_MS + at, NOW_MS + at) for at in range(5)]
        await found.parts.writer.write(lambda tx: schedules.plan(tx.conn, 1, rows))
        yield found


def filled(path: str) -> str:
    return re.sub(r"\{(\w+)\}", lambda found: {"name": NAME}.get(found[1], "1"), path)


async def test_what_is_anothers_is_refused_or_not_found(server: Serving) -> None:
    async with server.as_client("eve") as eve:
        for (method, path), allowed in ROLES.items():
            if "{" not in path or (method, path) in OPEN or not allowed:
                continue
            answer = await eve.request(method, filled(path), json=BODIES.get((method, path)))
            assert answer.status_code in {403, 404}, (method, path, answer.text)
            if "{name}" not in path:  # What is only numbered tells nothing, not even a name.
                assert NAME not in answer.text, (method, path)
        ids = {"pipeline": NAME}
        runs = {"runs": [ids]}
        assert (await eve.post("/v1/runs:batch", json=runs)).status_code == 403
    async with server.as_client("bob") as bob:
        run = (await bob.get("/v1/runs/1")).json()
        assert run["state"] == "READY"
        listed = (await bob.get("/v1/schedules")).json()["items"]
        assert [each["paused"] for each in listed] == [False] * 3


async def test_lists_have_nothing_of_anothers_not_even_a_cursor(server: Serving) -> None:
    lists = [
        path
        for (method, path), allowed in ROLES.items()
        if method == "GET" and "{" not in path and allowed and Role.SUBMITTER in allowed
    ]
    assert "/v1/schedules" in lists
    async with server.as_client("eve") as eve:
        for path in lists:
            answer = await eve.get(path, params={"limit": "1"} if path in PAGED else {})
            assert answer.status_code == 200, (path, answer.text)
            if path != "/schema/openapi.json":
                assert NAME not in answer.text, path
            if path in PAGED:
                assert answer.json() == {"items": [], "next_cursor": None}, path


PAGED = {
    "/v1/pipelines",
    "/v1/runs",
    "/v1/schedules",
    "/v1/schedules/plan",
    "/v1/scheduled-runs",
}


async def test_one_clients_idempotency_key_is_nothing_to_another(server: Serving) -> None:
    body = {"pipeline": PIPELINE | {"name": "mine"}}
    ids = []
    for name in ("bob", "eve", "bob"):
        async with server.as_client(name, **{"idempotency-key": "k-1"}) as client:
            answer = await client.post("/v1/runs", json=body)
            assert answer.status_code == 201
            ids.append((answer.json()["id"], answer.json()["client"]))
    assert ids[0] == ids[2]
    assert ids[0] != ids[1]
    assert json.dumps(ids).count("eve") == 1
