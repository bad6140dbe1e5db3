"""Holds the calls about the split to what the balancer says and what the state keeps."""

from pathlib import Path

import pytest
import trio
from structlog.testing import capture_logs

from control.model.bus.messages import SplitChanged
from control.model.config import Config
from control.model.names import Topic
from control.process import data_directory
from control.transactions import split
from store.database.state import open_state
from tests.api.serving import NOW_MS, Serving, serving


async def kept(server: Serving) -> SplitChanged | None:
    return await server.parts.reader.read(split.kept)


async def test_the_rules_are_those_of_the_balancer(server: Serving) -> None:
    async with server.as_client("viewer") as viewer:
        shown = (await viewer.get("/v1/partitions/split")).json()
    (change,) = shown.pop("changes")
    assert shown == {
        "slow": 60.0,
        "slow_auto": False,
        "threshold_seconds": 12.5,
        "threshold_auto": True,
        "lend": True,
        "slots": 2,
        "reserve": 1,
        "slow_running": 1,
        "waiting": 37,
        "stragglers": [{"worker": "w1", "factor": 4.8}, {"worker": "w2", "factor": 1.5}],
    }
    assert change == {
        "at": "2026-11-18T11:06:40.000Z",
        "pipeline": "nightly",
        "job": "one",
        "class": "slow",
        "expected_seconds": 20.0,
        "threshold_seconds": 12.5,
        "reason": "its jobs are expected to take 20 s now",
    }


async def test_a_submitter_is_not_told_of_other_clients_jobs(server: Serving) -> None:
    async with server.as_client("submitter") as submitter:
        refused = await submitter.get("/v1/partitions/split")
    assert refused.status_code == 403
    assert not {"changes", "stragglers"} & refused.json().keys()


async def test_partitions_tell_what_was_sent_ahead(server: Serving) -> None:
    async with server.as_client("submitter") as client:
        [partition] = (await client.get("/v1/partitions")).json()["items"]
    assert (partition["ahead_seconds"], partition["window_seconds"]) == (0.01, 0.04)


@pytest.mark.parametrize(
    ("slow", "share"), [(60, 0.6), (0, 0.0), (100, 1.0), (62.5, 0.625), ("auto", None)]
)
async def test_a_split_is_told_and_kept(
    server: Serving, slow: float | str, share: float | None
) -> None:
    assert await kept(server) is None
    commands = await server.parts.bus.tail(Topic.TASK_COMMANDS)
    async with server.as_client("operator") as operator:
        answer = await operator.put("/v1/partitions/split", json={"slow": slow})
    assert (answer.status_code, answer.json()) == (200, {"slow": slow})
    told = SplitChanged(slow_share=share)
    with trio.fail_after(10):
        assert [delivery.message for delivery in await commands.receive()] == [told]
    assert await kept(server) == told


@pytest.mark.parametrize(
    "body", [{}, {"slow": -1}, {"slow": 101}, {"slow": "most"}, {"slow": None}, {"fast": 40}, []]
)
async def test_what_is_no_split_changes_nothing(server: Serving, body: object) -> None:
    async with server.as_client("admin") as admin:
        refused = await admin.put("/v1/partitions/split", json=body)
    assert refused.status_code == 422
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["problems"]
    assert await kept(server) is None


async def test_a_split_that_was_set_is_noted_at_the_next_start(tmp_path: Path) -> None:
    config = Config(data_dir=str(tmp_path))
    async with serving(tmp_path) as server, server.as_client("operator") as operator:
        for slow in (30, "auto"):
            await operator.put("/v1/partitions/split", json={"slow": slow})
    conn = open_state(tmp_path / "state.db")
    with capture_logs() as logs:
        data_directory.note_split(conn, config)
    conn.execute("DELETE FROM settings")
    data_directory.note_split(conn, config)
    conn.close()
    (said,) = logs
    assert (said["event"], said["slow_share"]) == ("split.kept", "auto")
    assert said["configured"] == config.slow_share


async def test_explain_tells_how_a_job_stands(server: Serving) -> None:
    async with server.as_client("submitter") as client:
        job = {"name": "one", "stage": "a", "kind": "Sleep", "params": {"seconds": 1}}
        pipeline = {"name": "p", "stages": ["a"], "jobs": [job]}
        assert (await client.post("/v1/runs", json={"pipeline": pipeline})).status_code == 201
        told = (await client.get("/v1/jobs/1/explain")).json()
    assert told["reason"] == "no worker is connected for 1"
    assert told["steps"][2:] == [
        "expected to take 2.1 s: fast",
        "at least 37 jobs come before it",
        "refused at 2026-11-18T11:06:39.000Z: no free slot",
        "the balancer has not placed it: no worker is connected for 1",
    ]
    assert told["waits"] == {
        "class": "fast",
        "expected_seconds": 2.1,
        "known": True,
        "may_be_sent_ahead": False,
        "ahead": 37,
        "at_least": True,
        "refused": "no free slot",
        "refused_at": "2026-11-18T11:06:39.000Z",
    }
    assert NOW_MS == 1_795_000_000_000
