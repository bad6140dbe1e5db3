"""Decides what a process without an API tells of itself, and that it tells nothing else."""

import httpx
import trio

from control.admission.fair_use import FairUse
from control.api.status import Status
from tests.api.serving import Healthy


async def test_health_and_metrics_need_no_credentials() -> None:
    health = Healthy()
    async with trio.open_nursery() as nursery:
        status = Status(health, FairUse(), host="127.0.0.1", port=0)
        port = await nursery.start(status.run)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            found = await client.get("/v1/health")
            assert found.status_code == 200
            assert found.json() == {"status": "ok", "parts": {"store": "ok", "balancer": "ok"}}
            health.problems["balancer"] = "it sleeps"
            found = await client.get("/v1/health")
            assert found.status_code == 503
            assert found.json()["status"] == "down: balancer"
            assert found.json()["parts"]["balancer"] == "it sleeps"

            text = (await client.get("/metrics")).text
            assert "taskplane_results_refused_total 1.0" in text
            of = '{group="trigger",topic="task_run_results"}'
            assert f"taskplane_bus_unfinished_records{of} 3.0" in text
            assert "taskplane_runs_open" not in text  # Nothing that it does not know.

            assert (await client.head("/v1/health")).content == b""
            for path in ("/", "/v1/runs", "/v1/clients"):
                assert (await client.get(path)).status_code == 404
            assert (await client.post("/metrics", content=b"x")).status_code == 404
            # A page that has rebound its name to this address.
            found = await client.get("/metrics", headers={"Host": "evil.example.org"})
            assert found.status_code == 403
        nursery.cancel_scope.cancel()
