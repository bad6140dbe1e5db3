"""Holds live events, workers, partitions, reports, and metrics to what happens on the bus."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream

from control.api.auth.authentication import Caller
from control.model import limits
from control.model.bus.messages import (
    DispatcherUp,
    Finished,
    Hold,
    JobReady,
    LogChunk,
    Message,
    Placed,
    Started,
    WorkerDown,
    WorkerUp,
)
from control.model.bus.records import Record
from control.model.names import Topic
from control.model.states import Outcome, Role, Speed
from store.facts.database import Facts
from tests.api.serving import NOW_MS, PIPELINE, SECRET, Serving, serving
from tests.services.test_statistics import SKIPPED
from tests.store.facts.fact_samples import fact

READY = JobReady(
    run_id=1,
    job_id=1,
    attempt=1,
    pipeline="nightly",
    name="one",
    stage="a",
    client="submitter",
    kind="Sleep",
    version="1.0.0",
    order=(10, 10, 0, 10),
    created_ms=NOW_MS,
    ready_ms=NOW_MS,
)
WORKER = WorkerUp(
    worker="w1",
    dispatcher="d1",
    host="here",
    slots=2,
    labels=("gpu",),
    kinds=(("Sleep", ("1.0.0",)),),
    partitions=(0, 1),
    draining=False,
    connected_ms=NOW_MS,
)
PLACED = Placed(job=READY, partition=0, worker="w1", speed=Speed.FAST, expected=2.0)
STARTED = Started(run_id=1, job_id=1, attempt=1, worker="w1", partition=0, started_ms=NOW_MS)
FINISHED = Finished(
    run_id=1,
    job_id=1,
    attempt=1,
    pipeline="nightly",
    name="one",
    stage="a",
    client="submitter",
    kind="Sleep",
    version="1.0.0",
    worker="w1",
    partition=0,
    speed=Speed.FAST,
    outcome=Outcome.DONE,
    final=True,
    expected=2.0,
    ready_ms=NOW_MS,
    started_ms=NOW_MS,
    finished_ms=NOW_MS + 500,
    wait_seconds=0.0,
    duration_seconds=0.5,
    log_bytes=3,
)
HOLD = Hold(
    job_id=5,
    attempt=1,
    client="submitter",
    pipeline="nightly",
    name="two",
    speed=Speed.SLOW,
    expected=9.0,
    started_ms=NOW_MS,
)
TOPICS: dict[type, Topic] = {
    Placed: Topic.TASK_RUNS_LOAD_BALANCED,
    Finished: Topic.TASK_RUN_RESULTS,
    LogChunk: Topic.TASK_RUN_LOGS,
    Started: Topic.TASK_RUN_EVENTS,
}

UPGRADE = {
    "connection": "Upgrade",
    "upgrade": "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": base64.b64encode(bytes(16)).decode(),
}


async def tell(server: Serving, *messages: Message) -> None:
    for message in messages:
        topic = TOPICS.get(type(message), Topic.TASK_NEWS)
        await server.parts.bus.publish([Record(topic, message)])


async def until(server: Serving, path: str, found: str) -> list[dict[str, Any]]:
    """The API reads the bus in tasks of its own."""
    async with server.as_client("viewer") as client:
        with trio.fail_after(10):
            while True:
                answer = await client.get(path)
                if found in answer.text:
                    return list(answer.json()["items"])


@asynccontextmanager
async def listening(server: Serving, who: str = "viewer") -> AsyncIterator[WebSocketConnection]:
    login = base64.b64encode(f"{who}:{SECRET}".encode())
    headers = [(b"authorization", b"Basic " + login)]
    # Opened here, because trio-websocket leaves a socket open that the server has closed.
    async with (
        await trio.open_tcp_stream("127.0.0.1", server.port) as stream,
        trio.open_nursery() as nursery,
    ):
        socket = await wrap_client_stream(
            nursery, stream, "127.0.0.1", "/v1/events", extra_headers=headers
        )
        async with socket:
            yield socket


async def frame(socket: WebSocketConnection) -> dict[str, Any]:
    with trio.fail_after(10):
        return dict(msgspec.json.decode(await socket.get_message()))


async def test_workers_come_run_and_go(server: Serving) -> None:
    await tell(server, WORKER, PLACED)
    [worker] = await until(server, "/v1/workers", '"job_id":1')
    assert (worker["id"], worker["state"], worker["kinds"]) == (
        "w1",
        "connected",
        {"Sleep": ["1.0.0"]},
    )
    await tell(server, STARTED)
    [worker] = await until(server, "/v1/workers", '"started_at":"2026')
    assert worker["running"][0]["expected"] == 2.0
    [partition] = await until(server, "/v1/partitions", '"head":{')
    assert partition["head"]["job_id"] == 1
    assert (partition["class"], partition["depth"], partition["oldest_age_seconds"]) == (
        "fast",
        3,
        1.5,
    )
    async with server.as_client("operator") as operator:
        drained = await operator.post("/v1/workers/w1/drain")
        assert drained.json() == {"id": "w1", "state": "draining"}
        assert (await operator.post("/v1/workers/w9/drain")).status_code == 404
    await tell(server, FINISHED)
    await until(server, "/v1/workers", '"running":[]')
    await tell(server, WorkerDown(worker="w1", dispatcher="d1", reason="silent"))
    [worker] = await until(server, "/v1/workers", '"state":"lost"')
    assert worker["reason"] == "silent"


async def test_a_worker_that_drained_is_not_lost(server: Serving) -> None:
    down = WorkerDown(worker="w1", dispatcher="d1", reason="it had drained", drained=True)
    await tell(server, WORKER, down)
    [worker] = await until(server, "/v1/workers", '"drained"')
    assert (worker["state"], worker["lost_at"]) == ("drained", None)
    assert worker["drained_at"] is not None


async def test_a_dispatcher_says_all_that_it_has(server: Serving) -> None:
    await tell(server, WORKER)
    up = msgspec.structs.replace(WORKER, worker="w2", holds=(HOLD,))
    await tell(server, DispatcherUp(dispatcher="d1", partitions=(0, 1), workers=(up,), adrift=()))
    found = await until(server, "/v1/workers", '"lost"')
    assert [(each["id"], each["state"]) for each in found] == [
        ("w2", "connected"),
        ("w1", "lost"),
    ]
    assert found[0]["running"][0]["name"] == "two"


async def test_late_words_of_a_dispatcher_take_no_worker_from_another_one(server: Serving) -> None:
    moved = msgspec.structs.replace(WORKER, dispatcher="d2", connected_ms=NOW_MS + 1)
    old = DispatcherUp(dispatcher="d1", partitions=(), workers=(WORKER,), adrift=())
    await tell(server, WORKER, moved, PLACED, WORKER, old)
    await tell(server, WorkerDown(worker="w1", dispatcher="d1", reason="late"))
    await tell(server, msgspec.structs.replace(WORKER, worker="w2"))
    found = await until(server, "/v1/workers", '"w2"')
    assert [(each["id"], each["dispatcher"], each["state"]) for each in found] == [
        ("w1", "d2", "connected"),
        ("w2", "d1", "connected"),
    ]
    assert [job["job_id"] for job in found[0]["running"]] == [1]


async def test_who_lost_all_partitions_to_others_is_gone_with_its_workers(server: Serving) -> None:
    await tell(
        server, DispatcherUp(dispatcher="d1", partitions=(0, 1), workers=(WORKER,), adrift=())
    )
    await tell(server, DispatcherUp(dispatcher="d2", partitions=(0, 1), workers=(), adrift=()))
    [worker] = await until(server, "/v1/workers", '"lost"')
    assert (worker["id"], worker["dispatcher"]) == ("w1", "d1")


async def test_events_begin_with_a_snapshot_and_go_on_with_changes(server: Serving) -> None:
    async with server.as_client("submitter") as client, listening(server) as socket:
        first = await frame(socket)
        assert (first["seq"], first["kind"], first["runs"]) == (0, "snapshot", [])
        assert first["counts"]["open_runs"] == 0
        run = (await client.post("/v1/runs", json={"pipeline": PIPELINE})).json()["id"]
        seen, seq = dict[int, str](), 0
        while run not in seen:
            changes = await frame(socket)
            assert (changes["seq"], changes["kind"]) == (seq + 1, "changes")
            seq = changes["seq"]
            seen |= {each["id"]: each["state"] for each in changes["runs"]}
        assert seen[run] == "READY"
        await client.post(f"/v1/runs/{run}/cancel")
        while seen[run] != "CANCELLED":
            changes = await frame(socket)
            seen |= {each["id"]: each["state"] for each in changes["runs"]}
        await tell(server, WORKER)
        while not changes.get("workers"):
            changes = await frame(socket)
        assert changes["counts"]["slots"] == 2


async def test_a_worker_at_the_apis_port_is_sent_to_the_gateway(server: Serving) -> None:
    for path in ("/", "/v1/runs"):
        async with server.as_client("admin", **UPGRADE) as client:
            refused = await client.get(path)
            assert refused.status_code == 404
            assert "workers connect to the gateway" in refused.json()["detail"]


async def test_a_listener_needs_the_role_and_room(server: Serving) -> None:
    for who, status in (("submitter", 403), ("nobody", 401)):
        async with server.as_client(who, **UPGRADE) as client:
            refused = await client.get("/v1/events")
            assert refused.status_code == status
            assert refused.json()["status"] == status
    for _ in range(limits.EVENT_STREAMS_EACH):
        server.api.events.join(Caller(client_id="viewer", role=Role.VIEWER))
    async with server.as_client("viewer", **UPGRADE) as client:
        refused = await client.get("/v1/events")  # Its share; others have room.
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
    for _ in range(limits.EVENT_STREAMS_MAX - limits.EVENT_STREAMS_EACH):
        server.api.events.join(Caller(client_id="admin", role=Role.ADMIN))
    async with server.as_client("viewer", **UPGRADE) as client:
        refused = await client.get("/v1/events")
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")


async def test_listeners_are_counted(server: Serving) -> None:
    async with server.as_client("viewer") as client, listening(server) as socket:
        await frame(socket)
        assert "taskplane_event_streams 1.0" in (await client.get("/metrics")).text


async def test_metrics_count_what_ended(server: Serving) -> None:
    await tell(server, WORKER, FINISHED)
    await until(server, "/v1/workers", "w1")
    async with server.as_client("viewer") as client:
        with trio.fail_after(10):
            text = ""
            while 'taskplane_jobs_total{class="fast",outcome="done"} 1.0' not in text:
                text = (await client.get("/metrics")).text
        for line in (
            "taskplane_workers 1.0",
            "taskplane_slots 2.0",
            "taskplane_store_commits_total 7.0",
            "taskplane_results_refused_total 1.0",
            'taskplane_http_requests_total{method="GET",path="/v1/workers",status="200"}',
            'taskplane_job_duration_seconds_bucket{class="fast",le="0.5"} 1.0',
        ):
            assert line in text


async def test_an_attempt_with_two_ends_is_counted_once(server: Serving) -> None:
    # It was cancelled while it was on its way to a worker.
    skipped = msgspec.structs.replace(SKIPPED, job_id=1)
    cancelled = msgspec.structs.replace(FINISHED, outcome=Outcome.CANCELLED)
    await tell(server, skipped, cancelled, WORKER)
    await until(server, "/v1/workers", "w1")
    live = server.api.live
    assert sum(pulse.ended for pulse in live.pulses.all(0)) == 1
    async with server.as_client("viewer") as client:
        assert 'outcome="cancelled"' not in (await client.get("/metrics")).text


async def test_reports_are_given_in_pages(server: Serving) -> None:
    async with server.as_client("viewer") as client:
        summary = await client.get("/v1/stats/summary?window=1h")
        assert (summary.json()["window"], summary.headers["age"]) == (3600, "0")
        for name in ("pipelines", "slow-tasks", "partitions", "workers"):
            answer = await client.get(f"/v1/stats/{name}")
            assert answer.json() == {"items": [], "next_cursor": None}
        facts = server.parts.reports
        assert isinstance(facts, Facts)
        past = msgspec.structs.replace(fact(), ready_ms=NOW_MS - 60_000)
        await server.parts.offload(lambda: facts.append([past], "results", {0: 0}))
        lines = {
            query: len((await client.get(f"/v1/stats/export?format=csv{query}")).text.splitlines())
            for query in ("", "&window=24h", "&window=1s")
        }
        assert lines == {"": 2, "&window=24h": 2, "&window=1s": 1}
        assert (await client.get("/v1/stats/export?window=soon")).status_code == 422
        refused = await client.get("/v1/stats/summary?window=soon")
        assert refused.json()["problems"][0]["path"] == "window"


async def test_an_export_of_all_facts_may_take_longer_than_a_report(
    server: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backup of a running control plane begins with it."""
    monkeypatch.setattr(limits, "REPORT_S", 0.0)
    async with server.as_client("viewer") as client:
        assert (await client.get("/v1/stats/summary")).status_code == 503
        assert (await client.get("/v1/stats/export?format=csv")).status_code == 200
        monkeypatch.setattr(limits, "EXPORT_S", 0.0)
        assert (await client.get("/v1/stats/export?format=csv")).status_code == 503


async def test_the_document_tells_of_every_call(server: Serving) -> None:
    async with server.as_client("worker") as client:
        document = (await client.get("/schema/openapi.json")).json()
    assert document["openapi"] == "3.1.0"
    for route in server.api.routes:
        written = document["paths"][route.operation.path][route.operation.method.lower()]
        assert written["summary"]
        assert {"500", "503"} <= set(written["responses"])
    names = [each["operationId"] for path in document["paths"].values() for each in path.values()]
    assert len(names) == len(set(names))
    for schema in document["components"]["schemas"].values():
        for name, field in schema.get("properties", {}).items():
            assert "description" in msgspec.json.encode(field).decode() or "$ref" in field, name


async def test_the_doctor_says_what_the_parts_say(server: Serving) -> None:
    async with server.as_client("operator") as client:
        assert (await client.get("/v1/doctor")).json()["items"] == [
            {"check": "bus", "ok": True, "detail": "it is there", "warning": False},
        ]


async def drain(socket: WebSocketConnection) -> None:
    while True:
        await socket.get_message()


async def test_closing_lets_requests_end_and_waits_for_no_console(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, listening(server) as socket:
        await frame(socket)
        async with server.as_client("submitter") as client:
            await client.post("/v1/runs", json={"pipeline": PIPELINE})
            with trio.fail_after(limits.API_GRACE_S):
                async with client.stream("GET", "/v1/jobs/1/logs?follow=true") as answer:
                    server.api.close()
                    assert await answer.aread() == b""
                with pytest.raises(ConnectionClosed) as closed:
                    await drain(socket)
                assert closed.value.reason is not None
                assert closed.value.reason.code == 1001
                await server.stopped.wait()
