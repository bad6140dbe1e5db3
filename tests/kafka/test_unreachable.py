"""Decides that a control plane without its broker says so, goes on accepting, and recovers."""

import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from bench.servers.broker import Broker
from bench.servers.fleet import client_of, control_plane

pytestmark = [pytest.mark.kafka, pytest.mark.e2e, pytest.mark.slow]

PATIENCE_S = 90.0
PIPELINE = {
    "name": "one",
    "stages": ["run"],
    "jobs": [{"name": "job", "stage": "run", "kind": "Sleep", "params": {"seconds": 0}}],
}


def eventually(look: Callable[[], bool]) -> None:
    """Look until it is so."""
    deadline = time.monotonic() + PATIENCE_S
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def submit(client: httpx.Client, runs: int) -> list[int]:
    """Accepted runs."""
    found = []
    for _ in range(runs):
        answer = client.post("/v1/runs", json={"pipeline": PIPELINE})
        answer.raise_for_status()
        found.append(answer.json()["id"])
    return found


def all_done(client: httpx.Client, runs: list[int]) -> bool:
    """Whether they are."""
    return all(client.get(f"/v1/runs/{run}").json()["state"] == "DONE" for run in runs)


def assert_down(client: httpx.Client, address: str) -> None:
    """Health says in words that the bus is not there, and what that means."""
    eventually(lambda: client.get("/v1/health").status_code == 503)
    text = client.get("/v1/health").json()["parts"]["bus"]
    assert address in text
    assert "trying again" in text
    assert "runs are accepted until QUEUE_SIZE is reached" in text


def test_waits_for_its_broker_and_goes_on_by_itself(
    own_broker: Broker, prefix: str, tmp_path: Path
) -> None:
    own_broker.stop()  # Its port is known and free now.
    flags = ("--listen", "127.0.0.1:0", "--gateway", "127.0.0.1:0", "--workers", "2")
    plane = control_plane(tmp_path / "plane", own_broker.address, prefix, *flags)
    plane.start()
    try:
        with client_of(tmp_path / "plane") as client:
            assert_down(client, own_broker.address)
            said = next(line for line in plane.said().splitlines() if "bus.unreachable" in line)
            assert own_broker.address in said
            assert "trying again, at least every 5 s" in said
            runs = submit(client, 3)
            assert not all_done(client, runs)

            own_broker.start()
            eventually(lambda: all_done(client, runs))
            eventually(lambda: client.get("/v1/health").status_code == 200)
            assert "bus.reachable" in plane.said()

            own_broker.kill()
            assert_down(client, own_broker.address)
            runs = submit(client, 3)
            own_broker.start()
            eventually(lambda: all_done(client, runs))
            eventually(lambda: client.get("/v1/health").status_code == 200)
    finally:
        plane.stop()
