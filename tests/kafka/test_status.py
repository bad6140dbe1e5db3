"""Decides what processes without an API tell over HTTP, and how far `tpctl doctor` sees groups."""

import re
import time
from pathlib import Path

import httpx
import pytest

from bench.servers.broker import Broker
from bench.servers.fleet import client_of, control_plane
from control.model.names import Topic

pytestmark = [pytest.mark.kafka, pytest.mark.e2e, pytest.mark.slow]

PATIENCE_S = 240.0  # Only ends what would wait for ever.


def test_a_balancer_and_a_dispatcher_tell_of_themselves(
    broker: Broker, prefix: str, tmp_path: Path
) -> None:
    services = "api,scheduler,trigger,statistics"
    host = control_plane(
        tmp_path / "host", broker.address, prefix, "--services", services, "--listen", "127.0.0.1:0"
    )
    flags = ("--services", "balancer,dispatcher", "--gateway", "127.0.0.1:0")
    other = control_plane(tmp_path / "other", broker.address, prefix, *flags)
    try:
        host.start()
        other.start()
        found = re.search(r"metrics (http://127\.0\.0\.1:\d+)", other.said())
        assert found is not None
        with client_of(tmp_path / "host") as client:
            job = {"name": "job", "stage": "run", "kind": "Sleep", "params": {"seconds": 0}}
            pipeline = {"name": "one", "stages": ["run"], "jobs": [job]}
            for _ in range(3):  # There is no worker.
                client.post("/v1/runs", json={"pipeline": pipeline}).raise_for_status()
            deadline = time.monotonic() + PATIENCE_S
            text = ""
            lag = f'taskplane_bus_unfinished_records{{group="balancer",topic="{Topic.TASK_RUNS}"}}'
            while "taskplane_jobs_waiting 3.0" not in text or f"{lag} 3.0" not in text:
                assert time.monotonic() < deadline
                text = httpx.get(f"{found[1]}/metrics", timeout=60).text
                time.sleep(0.1)
            assert "taskplane_workers 0.0" in text
            assert httpx.get(f"{found[1]}/v1/health", timeout=60).json()["parts"]["bus"] == "ok"
            assert "taskplane_outbox_rows 0.0" in client.get("/metrics").text
            checks = {
                each["check"]: each["detail"] for each in client.get("/v1/doctor").json()["items"]
            }
            assert f" of {Topic.TASK_RUN_RESULTS}" in checks["bus, left to do"]
    finally:
        other.stop()
        host.stop()
