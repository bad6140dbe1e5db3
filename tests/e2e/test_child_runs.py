"""Decides that a run which is a job of another one outlives its processes."""

from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
import trio

from bench.servers.system import System, start_control, start_worker

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
HOLD = "until [ -e {gate} ]; do sleep 0.05; done"


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def bus(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """The flags that choose it."""
    if request.param == "embedded":
        return ()
    address = request.getfixturevalue("broker").address
    return ("--bus", f"kafka://{address}", "--topic-prefix", request.getfixturevalue("prefix"))


def job(kind: str, params: dict[str, object]) -> dict[str, object]:
    return {"name": "only", "stage": "s", "kind": kind, "params": params}


def test_kill_9_of_everything_starts_no_second_run(tmp_path: Path, bus: tuple[str, ...]) -> None:
    directory, gate = tmp_path / "data", tmp_path / "gate"
    with ExitStack() as stack:
        control = stack.enter_context(start_control(directory, *bus))
        worker = stack.enter_context(start_worker(directory, slots=1, name="one"))
        system = System(directory, [])
        with httpx.Client(base_url=system.url, auth=system.auth, timeout=60) as client:
            hold = job("Shell", {"command": HOLD.format(gate=gate)})
            for name, only in (("child", hold), ("parent", job("Pipeline", {"name": "child"}))):
                body = {"name": name, "stages": ["s"], "jobs": [only]}
                client.put(f"/v1/pipelines/{name}", json=body).raise_for_status()
            client.post("/v1/pipelines/parent/runs", json={}).raise_for_status()
            until(client, "/v1/workers", lambda found: found[0]["running"])
        worker.kill()
        control.kill()
        control.wait()
        stack.enter_context(start_control(directory, *bus))
        stack.enter_context(start_worker(directory, slots=1, name="two"))
        gate.touch()
        system = System(directory, [])
        with httpx.Client(base_url=system.url, auth=system.auth, timeout=60) as client:
            until(client, "/v1/runs", lambda found: all(run["state"] == "DONE" for run in found))
            runs = client.get("/v1/runs").json()["items"]
            assert [run["pipeline"] for run in runs] == ["child", "parent"]
            assert runs[0]["parent_run_id"] == runs[1]["id"]
            (only,) = client.get(f"/v1/runs/{runs[1]['id']}/jobs").json()["items"]
            assert (only["child_run_id"], only["worker"]) == (runs[0]["id"], None)
            explained = client.get(f"/v1/jobs/{only['id']}/explain").json()["steps"]
            assert f"run {runs[0]['id']} of child is DONE: done" in explained


def until(client: httpx.Client, path: str, done: object) -> None:
    assert callable(done)
    for _ in range(1_200):
        answer = client.get(path)
        answer.raise_for_status()
        if done(answer.json()["items"]):
            return
        trio.run(trio.sleep, 0.05)
    pytest.fail(f"{path}: {answer.text}")
