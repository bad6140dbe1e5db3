"""Decides that the kinds work in real workers: the examples of their pages, and a worker killed."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from bench.servers.cluster.simulated import SimulatedCluster
from bench.servers.system import System, start_control, start_worker
from tests.e2e.blocks import blocks
from tests.kubernetes.cluster_runs import manifest

pytestmark = [pytest.mark.kubernetes, pytest.mark.e2e, pytest.mark.slow]

ATTEMPT = "taskplane/attempt"
PAGES = Path(__file__).resolve().parents[2] / "docs" / "kinds"


def tpctl(command: str, data_dir: Path, directory: Path) -> str:
    """Run a command of a page."""
    program, *arguments = shlex.split(command)
    environ = {**os.environ, "TP_DATA_DIR": str(data_dir), "NO_COLOR": "1"}
    result = subprocess.run(
        [str(Path(sys.executable).parent / program), *arguments],
        cwd=directory,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


def test_the_examples_of_the_pages_run(cluster: SimulatedCluster, tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    environ = {"KUBECONFIG": str(cluster.kubeconfig)}
    ran = ""
    with (
        start_control(data_dir),
        start_worker(data_dir, slots=2, name="in-reach", environ=environ),
    ):
        for page in ("k8s-job.md", "k8s-deployment.md"):
            for block in blocks(PAGES / page):
                if block.file:
                    (tmp_path / block.file).write_text(block.text, encoding="utf-8")
                for line in block.text.splitlines():
                    if block.language == "text" and line.startswith("$ "):
                        ran += tpctl(line.removeprefix("$ "), data_dir, tmp_path)
    assert "created the Job default/migrate-" in ran
    assert "web: all 3 replicas are updated" in ran


def test_the_job_of_a_killed_worker_is_adopted(
    cluster: SimulatedCluster, namespace: str, tmp_path: Path
) -> None:
    data_dir = tmp_path / "data"
    environ = {"KUBECONFIG": str(cluster.kubeconfig)}
    params = {
        "manifest": manifest(labels={"hold": "yes"}),
        "namespace": namespace,
        "delete": "never",
    }
    job = {"name": "migrate", "stage": "s", "kind": "K8S/Job", "params": params}
    body = {"pipeline": {"name": "killed", "stages": ["s"], "jobs": [job]}}
    pods = f"/api/v1/namespaces/{namespace}/pods"
    jobs = f"/apis/batch/v1/namespaces/{namespace}/jobs"
    with start_control(data_dir):
        system = System(data_dir, [])
        with start_worker(data_dir, slots=1, name="first", environ=environ) as worker:
            answer = httpx.post(f"{system.url}/v1/runs", json=body, auth=system.auth)
            run = answer.raise_for_status().json()["id"]
            pod = until(cluster, pods, lambda found: found["status"].get("phase") == "Running")
            worker.kill()
            worker.wait()
        with start_worker(data_dir, slots=1, name="second", environ=environ):
            until(cluster, jobs, lambda found: found["metadata"]["labels"][ATTEMPT] == "2")
            path = f"{pods}/{pod['metadata']['name']}"
            release = {"metadata": {"labels": {"hold": None}}}
            cluster.call("PATCH", path, release, "merge-patch+json")
            tpctl(f"tpctl run watch {run}", data_dir, tmp_path)
    assert [each["metadata"]["uid"] for each in cluster.call("GET", pods)["items"]] == [
        pod["metadata"]["uid"]
    ]


def until(cluster: SimulatedCluster, path: str, holds: Callable[[Any], bool]) -> Any:  # noqa: ANN401
    """Look at each change until an object is so; gives it."""
    with cluster.client.stream("GET", path, params={"watch": "true"}) as changes:
        for line in changes.iter_lines():
            if holds(found := json.loads(line)["object"]):
                return found
    raise AssertionError("the watch ended")
