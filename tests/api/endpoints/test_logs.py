"""Holds logs to what came of them: while they grow, and once their job has ended."""

import msgspec
import trio

from control.model import limits
from control.model.bus.messages import LogChunk
from control.model.numbers import JobId
from tests.api.live.test_projection import FINISHED, tell
from tests.api.serving import PIPELINE, Serving


async def test_logs_are_read_and_followed(server: Serving) -> None:
    async with server.as_client("submitter") as client:
        await client.post("/v1/runs", json={"pipeline": PIPELINE})
        assert (await client.get("/v1/jobs/1/logs")).text == ""
        await tell(server, LogChunk(job_id=JobId(1), attempt=1, offset=0, text="\x1b[1ma"))
        async with client.stream("GET", "/v1/jobs/1/logs?follow=true") as answer:
            assert answer.headers["content-type"] == "text/plain; charset=utf-8"
            await tell(server, LogChunk(job_id=JobId(1), attempt=1, offset=5, text="b\n"))
            await tell(server, msgspec.structs.replace(FINISHED, log_bytes=7))
            await client.post("/v1/jobs/1/cancel")
            with trio.fail_after(limits.GRACE_S):
                assert await answer.aread() == b"\x1b[1mab\n"
        assert (await client.get("/v1/jobs/1/logs?attempt=1")).text == "\x1b[1mab\n"
        assert (await client.get("/v1/jobs/1/logs?attempt=2")).status_code == 404


async def test_a_followed_log_ends_when_the_state_does(server: Serving) -> None:
    # The bus may bring the result to the logs before the trigger has written it.
    async with server.as_client("submitter") as client:
        await client.post("/v1/runs", json={"pipeline": PIPELINE})
        ended = trio.Event()

        async def read(task_status: trio.TaskStatus[None]) -> None:
            async with client.stream("GET", "/v1/jobs/1/logs?follow=true") as answer:
                pieces = answer.aiter_bytes()
                await anext(pieces)
                task_status.started()
                assert [piece async for piece in pieces] == []
            ended.set()

        await tell(server, LogChunk(job_id=JobId(1), attempt=1, offset=0, text="a\n"))
        async with trio.open_nursery() as nursery:
            await nursery.start(read)
            await tell(server, msgspec.structs.replace(FINISHED, log_bytes=2))
            async with server.as_client("viewer") as viewer:
                with trio.fail_after(10):
                    while 'outcome="done"} 1.0' not in (await viewer.get("/metrics")).text:
                        pass
            assert not ended.is_set()
            await client.post("/v1/jobs/1/cancel")
            with trio.fail_after(limits.GRACE_S):
                await ended.wait()
        assert (await client.get("/v1/jobs/1")).json()["state"] == "CANCELLED"
