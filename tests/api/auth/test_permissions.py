"""Visits every call as every role: what is served is `control/api/auth/permissions.py`."""

import re

import pytest

from control.api.auth.permissions import ROLES
from control.model.states import Role
from tests.api.serving import PIPELINE, Serving

OTHERS = {"name": "others", "client_id": "nobody", "worker_id": "none", "token": "none"}
BODIES = {
    ("POST", "/v1/pipelines"): PIPELINE,
    ("PUT", "/v1/pipelines/{name}"): PIPELINE | {"name": "others"},
    ("POST", "/v1/pipelines/validate"): PIPELINE,
    ("PUT", "/v1/partitions/split"): {"slow": 60},
}


def filled(path: str) -> str:
    return re.sub(r"\{(\w+)\}", lambda found: OTHERS.get(found[1], "999"), path)


async def test_every_route_has_roles(server: Serving) -> None:
    served = {(r.operation.method, r.operation.path) for r in server.api.routes}
    assert served == set(ROLES)


@pytest.mark.parametrize("role", list(Role))
async def test_every_call_lets_in_whom_the_table_says(server: Serving, role: Role) -> None:
    async with server.as_client(role) as client:
        for (method, path), allowed in ROLES.items():
            answer = await client.request(method, filled(path), json=BODIES.get((method, path)))
            let_in = allowed is None or role in allowed
            assert (answer.status_code != 403) == let_in, (method, path, answer.text)
            assert answer.status_code not in {401, 500}, (method, path, answer.text)


async def test_nobody_gets_in_without_a_secret(server: Serving) -> None:
    async with server.as_client(None) as client:
        for (method, path), allowed in ROLES.items():
            answer = await client.request(method, filled(path))
            if allowed is not None:
                assert answer.status_code == 401, (method, path)
                assert answer.headers["www-authenticate"].startswith("Basic ")
                assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "header", ["", "Basic", "Basic !", "Bearer x", "Basic YQ==", "Basic OmE=", "Basic /w=="]
)
async def test_what_is_no_login_is_refused(server: Serving, header: str) -> None:
    async with server.as_client(None, authorization=header) as client:
        assert (await client.get("/v1/runs")).status_code == 401


async def test_changes_of_a_client_count_at_once(server: Serving) -> None:
    async with server.as_client("admin") as admin, server.as_client("viewer") as viewer:
        assert (await viewer.get("/v1/runs")).status_code == 200
        off = await admin.patch("/v1/clients/viewer", json={"enabled": False})
        assert off.json()["enabled"] is False
        assert (await viewer.get("/v1/runs")).status_code == 401
        await admin.patch("/v1/clients/viewer", json={"enabled": True, "role": "worker"})
        assert (await viewer.get("/v1/runs")).status_code == 403
        made = (await admin.post("/v1/clients/viewer/rotate")).json()
        assert (await viewer.get("/v1/runs")).status_code == 401
        rotated = await viewer.get("/schema/openapi.json", auth=("viewer", made["client_secret"]))
        assert rotated.status_code == 200


async def test_a_submitter_sees_its_own(server: Serving) -> None:
    await server.add_client("other", Role.SUBMITTER)
    async with server.as_client("submitter") as mine, server.as_client("other") as other:
        await mine.put("/v1/pipelines/nightly", json=PIPELINE)
        run = (await mine.post("/v1/pipelines/nightly/runs")).json()["id"]
        job = (await mine.get(f"/v1/runs/{run}/jobs")).json()["items"][0]["id"]
        assert len((await mine.get("/v1/runs")).json()["items"]) == 1
        for path in ("/v1/runs", "/v1/pipelines", "/v1/runs?client=submitter"):
            assert (await other.get(path)).json()["items"] == []
        for path in (f"/v1/runs/{run}", f"/v1/runs/{run}/jobs", f"/v1/jobs/{job}"):
            assert (await other.get(path)).status_code == 404
        for method, path in (
            ("POST", f"/v1/runs/{run}/cancel"),
            ("POST", f"/v1/runs/{run}/retry"),
            ("DELETE", f"/v1/runs/{run}"),
            ("POST", f"/v1/jobs/{job}/cancel"),
            ("GET", f"/v1/jobs/{job}/logs"),
            ("GET", f"/v1/jobs/{job}/explain"),
        ):
            assert (await other.request(method, path)).status_code == 404, path
        for method, path in (
            ("GET", "/v1/pipelines/nightly"),
            ("DELETE", "/v1/pipelines/nightly"),
            ("POST", "/v1/pipelines/nightly/runs"),
            ("GET", "/v1/pipelines/nightly/hooks"),
            ("POST", "/v1/pipelines/nightly/hooks"),
        ):
            refused = await other.request(method, path)
            assert refused.status_code == 403, path
            assert "belongs to another client" in refused.json()["detail"]
        batch = {"runs": [{"pipeline": "nightly"}]}
        assert (await other.post("/v1/runs:batch", json=batch)).status_code == 403
        assert (await other.put("/v1/pipelines/nightly", json=PIPELINE)).status_code == 403
