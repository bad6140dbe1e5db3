"""Holds the calls about pipelines and runs to docs/contract.md, "The REST API", by a socket."""

from pathlib import Path

import httpx
import yaml

from control.model.bus.messages import JobReady
from control.model.names import Topic
from control.model.states import Role
from control.model.times import to_rfc3339
from tests.api.serving import NOW_MS, PIPELINE, Serving, serving


async def started(client: httpx.AsyncClient) -> int:
    await client.put("/v1/pipelines/nightly", json=PIPELINE)
    answer = await client.post("/v1/pipelines/nightly/runs", json={"input": {"a": 1}})
    assert answer.status_code == 201, answer.text
    return int(answer.json()["id"])


async def test_a_pipeline_is_put_run_cancelled_retried_and_deleted(server: Serving) -> None:
    async with server.as_client("submitter") as client:
        put = await client.put("/v1/pipelines/nightly", json=PIPELINE)
        assert put.status_code == 201, put.text
        again = await client.put("/v1/pipelines/nightly", json=PIPELINE)
        assert (again.status_code, again.json()["revision"]) == (200, 1)
        run_id = await started(client)
        run = (await client.get(f"/v1/runs/{run_id}")).json()
        assert set(run) >= {
            *("id", "pipeline", "revision", "client", "trigger", "state", "reason", "priority"),
            *("input", "allowed_failures", "created_at", "started_at", "finished_at"),
            "scheduled_for",
        }
        assert (run["state"], run["trigger"], run["input"]) == ("READY", "api", {"a": 1})
        jobs = (await client.get(f"/v1/runs/{run_id}/jobs")).json()
        assert [job["name"] for job in jobs["items"]] == ["one", "two"]
        assert set(jobs["items"][0]) >= {
            *("id", "run_id", "name", "stage", "kind", "version", "state", "reason", "priority"),
            *("attempt", "retry_attempt", "worker", "partition", "progress", "output", "error"),
            *("created_at", "ready_at", "started_at", "finished_at", "exit_code"),
        }
        early = await client.delete(f"/v1/runs/{run_id}")
        assert early.status_code == 409
        cancelled = await client.post(f"/v1/runs/{run_id}/cancel")
        assert cancelled.json()["reason"] == "cancelled by submitter"
        assert (await client.post(f"/v1/runs/{run_id}/cancel")).status_code == 409
        retried = await client.post(f"/v1/runs/{run_id}/retry")
        assert retried.json()["state"] == "IN_PROGRESS"
        await client.post(f"/v1/runs/{run_id}/cancel")
        deleted = await client.delete(f"/v1/runs/{run_id}")
        assert (deleted.status_code, deleted.content) == (204, b"")
        assert (await client.get(f"/v1/runs/{run_id}")).status_code == 404


async def test_a_refused_definition_is_never_run_in_place_of_another(server: Serving) -> None:
    await server.add_client("full", Role.SUBMITTER, max_queued=0)

    def named(job: str) -> dict[str, object]:
        jobs = [{"name": job, "stage": "a", "kind": "Sleep", "params": {"seconds": 0}}]
        return {"pipeline": {"name": "unnamed", "stages": ["a"], "jobs": jobs}}

    told = await server.parts.bus.tail(Topic.TASK_RUNS)
    async with server.as_client("full") as full:
        assert (await full.post("/v1/runs", json=named("refused"))).status_code == 429
    async with server.as_client("submitter") as client:
        assert (await client.post("/v1/runs", json=named("wanted"))).status_code == 201
    (delivery,) = await told.receive()
    assert isinstance(delivery.message, JobReady)
    assert delivery.message.name == "wanted"


async def test_yaml_is_taken_and_problems_have_lines(server: Serving) -> None:
    async with server.as_client("submitter") as client:
        for media in ("application/yaml", "text/yaml; charset=utf-8", "application/x-yaml"):
            made = await client.post(
                "/v1/pipelines/validate",
                content=yaml.safe_dump(PIPELINE),
                headers={"content-type": media},
            )
            assert made.json()["valid"] is True
        wrong = PIPELINE | {"stages": ["a"], "colour": "red"}
        refused = await client.put(
            "/v1/pipelines/nightly",
            content=yaml.safe_dump(wrong),
            headers={"content-type": "application/yaml"},
        )
        assert refused.status_code == 422
        problems = {each["path"]: each for each in refused.json()["problems"]}
        assert set(problems) == {"colour", "jobs[1].stage"}
        assert all(each["line"] > 0 for each in problems.values())
        other_name = await client.put("/v1/pipelines/other", json=PIPELINE)
        assert other_name.json()["problems"][0]["path"] == "name"


async def test_a_pipeline_may_be_called_like_a_call(server: Serving) -> None:
    named = PIPELINE | {"name": "validate"}
    async with server.as_client("submitter") as client:
        assert (await client.put("/v1/pipelines/validate", json=named)).status_code == 201
        assert (await client.get("/v1/pipelines/validate")).json()["name"] == "validate"
        run = await client.post("/v1/pipelines/validate/runs")
        assert run.json()["pipeline"] == "validate"
        assert (await client.delete("/v1/pipelines/validate")).status_code == 204


async def test_posting_a_pipeline_twice_is_a_conflict(server: Serving) -> None:
    async with server.as_client("submitter") as client:
        assert (await client.post("/v1/pipelines", json=PIPELINE)).status_code == 201
        assert (await client.post("/v1/pipelines", json=PIPELINE)).status_code == 409
        assert (await client.get("/v1/pipelines")).json()["items"][0]["jobs"] == 2


async def test_an_unnamed_run_leaves_no_pipeline(server: Serving) -> None:
    async with server.as_client("submitter", **{"user-agent": "tpctl/0.1.0"}) as client:
        body = {"pipeline": PIPELINE, "input": [1], "priority": 3}
        run = (await client.post("/v1/runs", json=body)).json()
        assert (run["revision"], run["trigger"], run["priority"]) == (None, "manual", 3)
        assert (await client.get("/v1/pipelines")).json()["items"] == []
        body["pipeline"] = {"name": "x", "stages": ["a"], "jobs": []}
        refused = (await client.post("/v1/runs", json=body)).json()
        assert refused["problems"][0]["path"] == "pipeline.jobs"


async def test_a_batch_is_all_or_none(server: Serving) -> None:
    async with server.as_client("submitter") as client:
        await client.put("/v1/pipelines/nightly", json=PIPELINE)
        runs = [{"pipeline": "nightly", "input": n} for n in range(3)]
        made = await client.post("/v1/runs:batch", json={"runs": runs})
        assert made.status_code == 201
        ids = [run["id"] for run in made.json()["runs"]]
        assert len(set(ids)) == 3
        assert (await client.get(f"/v1/runs/{ids[2]}")).json()["input"] == 2
        runs[1]["pipeline"] = "none"
        refused = await client.post("/v1/runs:batch", json={"runs": runs})
        assert refused.status_code == 422
        assert refused.json()["problems"][0]["path"] == "runs[1].pipeline"
        assert len((await client.get("/v1/runs")).json()["items"]) == 3


async def test_a_key_makes_a_run_once(server: Serving) -> None:
    async with server.as_client("submitter", **{"idempotency-key": "k1"}) as client:
        first = await started(client)
        assert await started(client) == first
        path = "/v1/pipelines/nightly/runs"
        other = await client.post(path, json={"input": 2})
        assert other.status_code == 409
        batch = {"runs": [{"pipeline": "nightly"}] * 2}
        headers = {"idempotency-key": "k2"}
        made = await client.post("/v1/runs:batch", json=batch, headers=headers)
        again = await client.post("/v1/runs:batch", json=batch, headers=headers)
        assert made.json() == again.json()
        long = await client.post(path, headers={"idempotency-key": "k" * 256})
        assert long.status_code == 422
        assert len((await client.get("/v1/runs")).json()["items"]) == 3


async def test_lists_go_on_where_they_stopped(server: Serving) -> None:
    async with server.as_client("viewer") as viewer, server.as_client("submitter") as client:
        ids = [await started(client) for _ in range(3)]
        seen: list[int] = []
        cursor: str | None = ""
        while cursor is not None:
            page = (await viewer.get(f"/v1/runs?limit=2{cursor and '&cursor=' + cursor}")).json()
            seen += [run["id"] for run in page["items"]]
            cursor = page["next_cursor"]
        assert seen == ids[::-1]
        since = to_rfc3339(NOW_MS)
        for query, count in (
            ("state=READY", 3),
            ("state=DONE", 0),
            ("pipeline=nightly&client=submitter", 3),
            ("client=nobody", 0),
            (f"since={since}", 3),
            (f"since={to_rfc3339(NOW_MS + 1)}", 0),
        ):
            assert len((await viewer.get(f"/v1/runs?{query}")).json()["items"]) == count, query
        for wrong in ("limit=0", "limit=x", "cursor=x", "state=OPEN", "since=now", "colour=red"):
            refused = await viewer.get(f"/v1/runs?{wrong}")
            assert refused.status_code == 422, wrong
            assert refused.json()["problems"], wrong
        assert (await viewer.get("/v1/runs?limit=1&limit=2")).status_code == 422


async def test_a_full_queue_is_said_and_nothing_is_stored(tmp_path: Path) -> None:
    async with serving(tmp_path, queue_size=5) as server, server.as_client("submitter") as client:
        await server.add_client("small", Role.SUBMITTER, max_queued=1)
        await started(client)
        runs = {"runs": [{"pipeline": "nightly"}] * 2}
        refused = await client.post("/v1/runs:batch", json=runs)
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) > 0
        assert len((await client.get("/v1/runs")).json()["items"]) == 1
        async with server.as_client("small") as small:
            body = {"pipeline": PIPELINE}
            assert "max_queued" in (await small.post("/v1/runs", json=body)).json()["detail"]


async def test_a_waiting_job_is_moved_and_explained(server: Serving) -> None:
    async with server.as_client("operator") as client:
        run_id = await started(client)
        one, two = (await client.get(f"/v1/runs/{run_id}/jobs")).json()["items"]
        moved = await client.patch(f"/v1/jobs/{one['id']}", json={"priority": 3})
        assert moved.json()["priority"] == 3
        why = (await client.get(f"/v1/jobs/{one['id']}/explain")).json()
        assert why["reason"] == f"no worker is connected for {one['id']}"
        assert any("expected to take 2.1 s: fast" in step for step in why["steps"])
        waits = (await client.get(f"/v1/jobs/{two['id']}/explain")).json()
        assert waits["reason"] == "waits for one (READY)"
        await client.post(f"/v1/jobs/{one['id']}/cancel")
        ended = (await client.get(f"/v1/jobs/{two['id']}/explain")).json()
        assert any("before it: one (CANCELLED)" in step for step in ended["steps"])
        late = await client.patch(f"/v1/jobs/{one['id']}", json={"priority": 3})
        assert late.status_code == 409


async def test_schedules_are_paused_triggered_and_backfilled(server: Serving) -> None:
    scheduled = PIPELINE | {"schedules": [{"cron": "0 * * * *", "input": 7}]}
    async with server.as_client("submitter") as client:
        await client.put("/v1/pipelines/nightly", json=scheduled)
        [schedule] = (await client.get("/v1/schedules")).json()["items"]
        path = f"/v1/schedules/{schedule['id']}"
        assert (await client.post(f"{path}/pause")).json()["paused"] is True
        assert (await client.post(f"{path}/resume")).json()["paused"] is False
        run = await client.post(f"{path}/trigger")
        assert (run.status_code, run.json()["input"]) == (201, 7)
        stretch = {
            "from": to_rfc3339(NOW_MS - 3 * 3_600_000),
            "until": to_rfc3339(NOW_MS),
        }
        made = (await client.post(f"{path}/backfill", json=stretch)).json()
        assert made == {"planned": 3, "found": 3}
        again = (await client.post(f"{path}/backfill", json=stretch)).json()
        assert again["planned"] == 0
        planned = (await client.get("/v1/scheduled-runs?limit=2")).json()
        assert len(planned["items"]) == 2
        rest = await client.get(f"/v1/scheduled-runs?cursor={planned['next_cursor']}")
        assert len(rest.json()["items"]) == 1
        for wrong in (
            {"from": "x", "until": "y"},
            {"from": stretch["until"], "until": stretch["from"]},
            {"from": stretch["from"], "until": to_rfc3339(NOW_MS + 1)},
            {"from": to_rfc3339(0), "until": stretch["until"]},
        ):
            assert (await client.post(f"{path}/backfill", json=wrong)).status_code == 422
        assert (await client.post("/v1/schedules/999/pause")).status_code == 404
