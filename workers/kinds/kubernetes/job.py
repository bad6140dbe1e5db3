"""Owns the kind `K8S/Job`: one Job of a Kubernetes cluster, from its start to its end."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from control.model import limits
from control.model.kinds import Job, Kind, Reporter, Result
from control.model.surroundings.base import Surroundings
from control.model.worker.settings import KubernetesTable, WorkerSettings
from workers.kinds.kubernetes.api import connect
from workers.kinds.kubernetes.job_attempt import JobAttempt
from workers.kinds.kubernetes.manifests import (
    Context,
    ManifestTemplates,
    Namespace,
    check,
    namespace_of,
)


class KubernetesJobParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which Job, and where."""

    manifest: Annotated[
        dict[str, Any],
        Meta(
            description="A Job of batch/v1 as Kubernetes documents it; its name is a prefix.",
            examples=[
                {
                    "spec": {
                        "template": {
                            "spec": {
                                "restartPolicy": "Never",
                                "containers": [{"name": "main", "image": "registry/migrate:1.4"}],
                            }
                        }
                    }
                }
            ],
        ),
    ]
    namespace: Namespace | None = None
    context: Context | None = None
    delete: Annotated[
        Literal["on_success", "always", "never"],
        Meta(
            description="When the Job that has ended is deleted, and its pods with it.",
            examples=["never"],
        ),
    ] = "on_success"
    start_timeout: Annotated[
        float,
        Meta(
            gt=0,
            le=limits.SECONDS_MAX,
            description="Seconds without a pod, or a started container: no node, no image.",
            examples=[60],
        ),
    ] = limits.KUBERNETES_START_S

    def __post_init__(self) -> None:
        """Refuse a manifest of something else."""
        check(self.manifest, "Job", "batch/v1", self.namespace)


class KubernetesJob(Kind[KubernetesJobParams]):
    """Runs a Job; an attempt after a lost one goes on with the Job that is there."""

    name: ClassVar[str] = "K8S/Job"
    version: ClassVar[str] = "1.0.0"
    summary: ClassVar[str] = "Run a Job of Kubernetes; the output is its pod's last state."
    params = KubernetesJobParams
    surroundings: ClassVar[Mapping[str, Surroundings]] = {"manifest": ManifestTemplates()}

    def __init__(self) -> None:
        self._allowed = KubernetesTable()

    def configure(self, settings: WorkerSettings) -> None:
        """Which contexts and namespaces jobs may use."""
        self._allowed = settings.kubernetes

    async def run(self, job: Job, params: KubernetesJobParams, report: Reporter) -> Result:
        """Start or adopt the Job, and follow it to its end; deletes it when cancelled."""
        namespace = namespace_of(params.manifest, params.namespace)
        async with await connect(self._allowed, params.context, namespace) as api:
            attempt = JobAttempt(api, job, params.manifest, report, params.start_timeout)
            return await attempt.run(params.delete)
