"""Owns how tests run jobs in the simulated cluster, and what they look at there."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Generic, TypeVar

import httpx
import msgspec
import trio
import yaml
from msgspec import Raw

from bench.servers.cluster.simulated import SimulatedCluster
from control.model.kinds import Job, Kind, Result
from control.model.this import Subject
from control.model.worker.settings import KubernetesTable, WorkerSettings
from tests.workers.kind_runs import Recorder

K = TypeVar("K", bound=msgspec.Struct)


def a_job(
    job_id: int,
    attempt: int = 1,
    first: int | None = None,
    env: Mapping[str, str] = {},
    installation: str = "here",
) -> Job:
    """An attempt; all from `first` to the one before it were lost."""
    return Job(
        run_id=7,
        job_id=job_id,
        attempt=attempt,
        name="migrate",
        input=Raw(b"null"),
        env=env,
        directory=Path("/nonexistent"),
        subject=Subject(
            pipeline="nightly",
            revision=3,
            stage="load",
            trigger="manual",
            created_ms=0,
            installation=installation,
            first_attempt=first,
        ),
    )


class Log(Recorder):
    """A reporter that lets tests wait for what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = trio.Event()

    async def log(self, text: str) -> None:
        await super().log(text)
        self._changed.set()
        self._changed = trio.Event()

    async def until(self, text: str) -> None:
        """Return when the log has this text."""
        while text not in self.text:
            await self._changed.wait()


class ClusterRuns(Generic[K]):
    """Runs one kind's jobs in one namespace of the cluster."""

    def __init__(self, kind: Kind[K], cluster: SimulatedCluster, namespace: str) -> None:
        self.kind = kind
        self.cluster = cluster
        self.namespace = namespace
        self.log = Log()

    async def run(self, job: Job, **params: object) -> Result:
        """Run one attempt in the namespace, unless the params name one."""
        named = {"namespace": self.namespace, **params}
        read = msgspec.json.decode(msgspec.json.encode(named), type=self.kind.params)
        with trio.fail_after(60):
            return await self.kind.run(job, read, self.log)

    async def __call__(self, job: Job, **params: object) -> Any:  # noqa: ANN401 - Any JSON.
        """Run one attempt and return its output."""
        return msgspec.json.decode((await self.run(job, **params)).output)

    def allow(self, contexts: tuple[str, ...] = (), namespaces: tuple[str, ...] = ()) -> None:
        """Configure the kind as a worker's config would."""
        table = KubernetesTable(contexts=contexts, namespaces=namespaces)
        self.kind.configure(WorkerSettings(kubernetes=table))

    def path(self, resource: str, name: str = "") -> str:
        """Where objects of the namespace are."""
        root = {"jobs": "apis/batch/v1", "pods": "api/v1"}.get(resource, "apis/apps/v1")
        return f"/{root}/namespaces/{self.namespace}/{resource}{name and '/'}{name}"

    def get(self, resource: str) -> list[Any]:
        """All objects of a kind, now."""
        items: list[Any] = self.cluster.call("GET", self.path(resource))["items"]
        return items

    async def until(self, resource: str, holds: Callable[[list[Any]], bool]) -> list[Any]:
        """Look at each change until all objects of a kind are so; gives them."""
        path, query = self.path(resource), {"watch": "true"}
        with trio.fail_after(30):
            async with (
                self.cluster.async_client() as client,
                client.stream("GET", path, params=query) as changes,
            ):
                lines = changes.aiter_lines()
                while not holds(found := self.get(resource)):
                    await anext(lines)
                await changes.aclose()
                with suppress(httpx.HTTPError, httpx.StreamError):
                    await anext(lines)  # Ends httpx's generators.
        return found

    async def pod(self) -> Any:  # noqa: ANN401 - Any JSON.
        """The only pod, when it is on a node."""
        (pod,) = await self.until(
            "pods", lambda pods: [bool(each["spec"].get("nodeName")) for each in pods] == [True]
        )
        return pod

    def mark(self, pod: Mapping[str, Any], **labels: str | None) -> None:
        """Change labels of a pod, which say what becomes of it."""
        body = {"metadata": {"labels": labels}}
        path = self.path("pods", pod["metadata"]["name"])
        self.cluster.call("PATCH", path, body, "merge-patch+json")

    def set_status(self, pod: Mapping[str, Any], **status: object) -> None:
        """Write a pod's status, as its node would."""
        path = self.path("pods", f"{pod['metadata']['name']}/status")
        self.cluster.call("PATCH", path, {"status": status}, "merge-patch+json")


def manifest(
    *containers: str,
    labels: Mapping[str, str] = {},
    pod: Mapping[str, object] = {},
    memory: str | None = None,
    **spec: object,
) -> dict[str, Any]:
    """A Job, with containers of these names. `labels`: of its pods, of which `pod` says more."""
    limits = {"resources": {"limits": {"memory": memory}}} if memory else {}
    template: dict[str, Any] = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 0,
        "containers": [
            {"name": name, "image": "busybox", **limits} for name in containers or ["main"]
        ],
        **pod,
    }
    pods = {"metadata": {"labels": dict(labels)}, "spec": template}
    return {"spec": {"backoffLimit": 0, "template": pods, **spec}}


def through(kubeconfig: Path, port: int, directory: Path) -> Path:
    """A kubeconfig that reaches the same cluster at another port."""
    config = yaml.safe_load(kubeconfig.read_text("utf-8"))
    config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{port}"
    path = directory / "kubeconfig.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path
