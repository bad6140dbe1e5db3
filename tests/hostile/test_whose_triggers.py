"""Decides that a trigger starts nothing that its client, or its author, may not start."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from control.model.states import Role
from tests.api.serving import Serving, serving


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Serving]:
    async with serving(tmp_path) as found:
        await found.add_client("ann", Role.SUBMITTER)
        await found.add_client("bob", Role.SUBMITTER)
        yield found


def definition(name: str, *targets: str, seconds: float = 1) -> dict[str, Any]:
    """A pipeline that starts these, however its run ends."""
    return {
        "name": name,
        "stages": ["s"],
        "jobs": [{"name": "j", "stage": "s", "kind": "Sleep", "params": {"seconds": seconds}}],
        "triggers": [{"pipeline": target, "when": "always"} for target in targets],
    }


async def put(server: Serving, client_id: str, pipeline: dict[str, Any]) -> httpx.Response:
    async with server.as_client(client_id) as client:
        return await client.put(f"/v1/pipelines/{pipeline['name']}", json=pipeline)


async def end_a_run(server: Serving, client_id: str, pipeline: str) -> dict[str, Any]:
    """Start a run and cancel it: what is triggered always is triggered now."""
    async with server.as_client(client_id) as client:
        started = await client.post(f"/v1/pipelines/{pipeline}/runs", json={"input": {"x": 1}})
        assert started.status_code == 201, started.text
        ended = await client.post(f"/v1/runs/{started.json()['id']}/cancel")
        assert ended.status_code == 200
        found: dict[str, Any] = ended.json()
        return found


async def runs_of(server: Serving, pipeline: str) -> list[dict[str, Any]]:
    async with server.as_client("admin") as client:
        found: list[dict[str, Any]] = (
            await client.get("/v1/runs", params={"pipeline": pipeline})
        ).json()["items"]
        return found


async def test_a_submitter_may_not_store_a_trigger_of_anothers_pipeline(server: Serving) -> None:
    await put(server, "ann", definition("anns"))
    async with server.as_client("bob") as bob:
        evil = definition("bobs", "anns")
        answers = [
            await bob.put("/v1/pipelines/bobs", json=evil),
            await bob.post("/v1/pipelines", json=evil),
            await bob.post("/v1/runs", json={"pipeline": evil}),
            await bob.post("/v1/pipelines/validate", json=evil),
        ]
    for answer in answers:
        assert answer.status_code == 403, answer.text
        assert "anns" in answer.json()["detail"]
        assert "ann's" not in answer.json()["detail"], "whose it is, is nobody's business"
    assert not await runs_of(server, "bobs")


@pytest.mark.parametrize("role", ["operator", "admin"])
async def test_who_may_start_everything_may_trigger_everything(server: Serving, role: str) -> None:
    await put(server, "ann", definition("anns"))
    assert (await put(server, role, definition("theirs", "anns"))).status_code == 201
    await end_a_run(server, role, "theirs")
    assert [run["client"] for run in await runs_of(server, "anns")] == [role]


async def test_a_target_that_is_not_there_is_warned_of(server: Serving) -> None:
    async with server.as_client("bob") as bob:
        body = definition("bobs", "later")
        answers = [
            await bob.post("/v1/pipelines/validate", json=body),
            await bob.put("/v1/pipelines/bobs", json=body),
            await bob.put("/v1/pipelines/bobs", json=body),
        ]
    assert [answer.status_code for answer in answers] == [200, 201, 200]
    for answer in answers:
        (warning,) = answer.json()["warnings"]
        assert warning["path"] == "triggers[0].pipeline"
        assert "later" in warning["message"]


async def test_a_target_that_another_made_since_is_not_started(server: Serving) -> None:
    """A name is resolved when the run ends; whose it is then, counts."""
    await put(server, "bob", definition("bobs", "later"))
    await put(server, "ann", definition("later"))
    run = await end_a_run(server, "bob", "bobs")
    assert not await runs_of(server, "later")
    assert "later was not started" in run["reason"]
    assert "belongs to another client" in run["reason"]


async def test_a_pipeline_that_was_deleted_and_made_again_by_another_is_not_started(
    server: Serving,
) -> None:
    await put(server, "bob", definition("shared"))
    await put(server, "bob", definition("bobs", "shared"))
    async with server.as_client("bob") as bob:
        assert (await bob.delete("/v1/pipelines/shared")).status_code == 204
    await put(server, "ann", definition("shared"))
    run = await end_a_run(server, "bob", "bobs")
    assert not await runs_of(server, "shared")
    assert "belongs to another client" in run["reason"]


async def test_an_operator_does_not_lend_his_rights_to_who_wrote_the_trigger(
    server: Serving,
) -> None:
    """Bob names a pipeline before ann makes it; an operator runs bob's: bob may not, so nor may
    his trigger."""
    await put(server, "bob", definition("bobs", "later"))
    await put(server, "ann", definition("later"))
    run = await end_a_run(server, "operator", "bobs")
    assert not await runs_of(server, "later")
    assert "bob, who wrote the definition" in run["reason"]


async def test_a_demoted_operator_triggers_only_what_is_his(server: Serving) -> None:
    await server.add_client("olga", Role.OPERATOR)
    await put(server, "ann", definition("anns"))
    await put(server, "olga", definition("olgas", "anns", "hers"))
    await put(server, "olga", definition("hers"))
    async with server.as_client("admin") as admin:
        await admin.patch("/v1/clients/olga", json={"role": "submitter"})
    run = await end_a_run(server, "olga", "olgas")
    assert not await runs_of(server, "anns")
    assert len(await runs_of(server, "hers")) == 1
    assert "anns was not started" in run["reason"]


async def test_a_hook_has_the_rights_that_its_client_has_now(server: Serving) -> None:
    await server.add_client("olga", Role.OPERATOR)
    await put(server, "ann", definition("anns"))
    async with server.as_client("olga") as olga:
        made = (await olga.post("/v1/pipelines/anns/hooks")).json()
    async with server.as_client("admin") as admin:
        assert (await admin.post(made["path"], json={})).status_code == 201
        await admin.patch("/v1/clients/olga", json={"role": "submitter"})
        assert (await admin.post(made["path"], json={})).status_code == 404
    assert len(await runs_of(server, "anns")) == 1


async def test_what_another_made_under_a_deleted_name_has_no_former_hook(server: Serving) -> None:
    await put(server, "bob", definition("shared"))
    async with server.as_client("bob") as bob:
        made = (await bob.post("/v1/pipelines/shared/hooks")).json()
        await bob.delete("/v1/pipelines/shared")
    await put(server, "ann", definition("shared"))
    async with server.as_client(None) as anyone:
        assert (await anyone.post(made["path"], json={})).status_code == 404
