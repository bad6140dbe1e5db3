"""Decides that workers keep their jobs while only the control plane was frozen."""

import time
from pathlib import Path

import pytest

from bench.servers.broker import Broker
from bench.servers.fleet import client_of, control_plane
from bench.servers.system import start_worker
from control.model import limits

pytestmark = [pytest.mark.kafka, pytest.mark.e2e, pytest.mark.slow]

PATIENCE_S = 240.0  # Only ends what would wait for ever.
JOBS = 4


def test_workers_of_a_frozen_process_keep_their_jobs(
    broker: Broker, prefix: str, tmp_path: Path
) -> None:
    ran, gate = tmp_path / "ran", tmp_path / "gate"
    command = f"echo $TP_JOB_ID >> {ran}; until [ -e {gate} ]; do sleep 0.05; done"
    job = {"name": "job", "stage": "run", "kind": "Shell", "params": {"command": command}}
    pipeline = {"name": "one", "stages": ["run"], "jobs": [job]}
    flags = ("--listen", "127.0.0.1:0", "--gateway", "127.0.0.1:0")
    plane = control_plane(tmp_path / "plane", broker.address, prefix, *flags)
    plane.start()
    try:
        with (
            start_worker(tmp_path / "plane", slots=JOBS + 1, name="w"),
            client_of(tmp_path / "plane") as client,
        ):
            runs = [
                client.post("/v1/runs", json={"pipeline": pipeline}).json()["id"]
                for _ in range(JOBS)
            ]

            def jobs() -> list[tuple[str, int]]:
                found = [client.get(f"/v1/runs/{run}/jobs").json()["items"][0] for run in runs]
                return [(each["state"], each["attempt"]) for each in found]

            deadline = time.monotonic() + PATIENCE_S
            while jobs() != [("IN_PROGRESS", 1)] * JOBS:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            plane.pause()
            time.sleep(1.5 * limits.SESSION_S)  # It is what the test is about.
            plane.resume()
            plane.wait_for("bus.partitions_lost")
            while plane.said().count("worker.connected") < 2:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            gate.touch()
            while jobs() != [("DONE", 1)] * JOBS:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            assert len(ran.read_text(encoding="utf-8").split()) == JOBS
    finally:
        gate.touch()
        plane.stop()
