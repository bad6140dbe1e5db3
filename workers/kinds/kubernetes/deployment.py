"""Owns the kind `K8S/Deployment`: a new image for a Deployment, and its rollout to the end."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta

from control.model import limits
from control.model.kinds import Job, Kind, Reporter, Result
from control.model.surroundings.base import Surroundings
from control.model.worker.settings import KubernetesTable, WorkerSettings
from workers.kinds.kubernetes.api import connect
from workers.kinds.kubernetes.deployment_attempt import DeploymentAttempt
from workers.kinds.kubernetes.deployment_change import DeploymentChange
from workers.kinds.kubernetes.manifests import (
    Context,
    ManifestTemplates,
    Namespace,
    check,
    namespace_of,
)


class KubernetesDeploymentParams(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """Which Deployment, and what it is to run."""

    name: Annotated[
        str,
        Meta(
            pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$",
            description="The Deployment's name.",
            examples=["web"],
        ),
    ]
    image: Annotated[
        str, Meta(min_length=1, description="The image to run.", examples=["registry/web:1.4"])
    ]
    container: Annotated[
        str | None,
        Meta(description="The container that gets it. Default: the only one.", examples=["web"]),
    ] = None
    namespace: Namespace | None = None
    context: Context | None = None
    replicas: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        Meta(description="How many pods. Default: as many as there are.", examples=[3]),
    ] = None
    manifest: Annotated[
        dict[str, Any] | None,
        Meta(
            description="A Deployment of apps/v1, applied as a whole. Default: the one there is.",
            examples=[{"spec": {"selector": {}, "template": {"spec": {"containers": []}}}}],
        ),
    ] = None
    rollout_timeout: Annotated[
        Annotated[float, Meta(gt=0, le=limits.SECONDS_MAX)] | None,
        Meta(
            description="Seconds. Default: the Deployment's progressDeadlineSeconds.",
            examples=[300],
        ),
    ] = None
    undo: Annotated[
        bool,
        Meta(description="Go back to the revision before when the rollout fails.", examples=[True]),
    ] = False

    def __post_init__(self) -> None:
        """Refuse a manifest of something else, or of another name."""
        if self.manifest is None:
            return
        check(self.manifest, "Deployment", "apps/v1", self.namespace)
        named = (self.manifest.get("metadata") or {}).get("name") or self.name
        if named != self.name:
            raise ValueError(f"the manifest is of {named!r}, the job of {self.name!r}")


class KubernetesDeployment(Kind[KubernetesDeploymentParams]):
    """Applies a change to a Deployment and waits until it is rolled out."""

    name: ClassVar[str] = "K8S/Deployment"
    version: ClassVar[str] = "1.0.0"
    summary: ClassVar[str] = "Roll out an image in a Deployment of Kubernetes."
    params = KubernetesDeploymentParams
    surroundings: ClassVar[Mapping[str, Surroundings]] = {"manifest": ManifestTemplates()}

    def __init__(self) -> None:
        self._allowed = KubernetesTable()

    def configure(self, settings: WorkerSettings) -> None:
        """Which contexts and namespaces jobs may use."""
        self._allowed = settings.kubernetes

    async def run(self, job: Job, params: KubernetesDeploymentParams, report: Reporter) -> Result:
        """Apply the change and follow its rollout; with `undo` a rollout that fails is undone."""
        namespace = namespace_of(params.manifest, params.namespace)
        change = DeploymentChange(
            params.name, params.image, params.container, params.replicas, params.manifest
        )
        async with await connect(self._allowed, params.context, namespace) as api:
            attempt = DeploymentAttempt(api, job, change, report)
            return await attempt.run(params.rollout_timeout, undo=params.undo)
