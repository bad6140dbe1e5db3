"""Owns what is read of the API server's objects; all else in them is left alone.

Field by field as Kubernetes documents them; what an object does not say has its default here.
"""

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from control.model.errors import JobFailed

T = TypeVar("T")


def read(decoder: msgspec.json.Decoder[T], data: bytes | msgspec.Raw) -> T:
    """Decode what the API server has sent; raises JobFailed when it is something else."""
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise JobFailed(f"what answers there is no API server of Kubernetes: {error}") from error


class _Part(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A part of an object."""


class Owner(_Part, frozen=True):
    """An entry of `ownerReferences`."""

    kind: str = ""
    uid: str = ""


class Metadata(_Part, frozen=True):
    """Of every object."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    deletion_timestamp: str | None = None
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}
    owner_references: tuple[Owner, ...] = ()


class Condition(_Part, frozen=True):
    """An entry of a status's `conditions`."""

    type: str
    status: str
    reason: str = ""
    message: str = ""

    @property
    def holds(self) -> bool:
        """Whether it is true now."""
        return self.status == "True"


class ContainerWaiting(_Part, frozen=True):
    """Why a container does not run yet, or not again."""

    reason: str = ""
    message: str = ""


class ContainerEnd(_Part, frozen=True):
    """How a container ended."""

    exit_code: int = 0
    reason: str = ""
    message: str = ""  # What the container wrote to its termination log.
    started_at: str | None = None
    finished_at: str | None = None


class ContainerRunning(_Part, frozen=True):
    """A container that runs; since when does not matter here."""


class ContainerState(_Part, frozen=True):
    """Exactly one of these, or none."""

    waiting: ContainerWaiting | None = None
    running: ContainerRunning | None = None
    terminated: ContainerEnd | None = None


class ContainerStatus(_Part, frozen=True):
    """One container of a pod, as it is now."""

    name: str
    restart_count: int = 0
    state: ContainerState = ContainerState()
    last_state: ContainerState = ContainerState()


class Resources(_Part, frozen=True):
    """What a container may use."""

    limits: Mapping[str, str | int | float] = {}


class PodContainer(_Part, frozen=True):
    """One container of a pod, as it was asked for."""

    name: str = ""
    image: str = ""
    resources: Resources = Resources()


class PodSpec(_Part, frozen=True):
    """What a pod consists of."""

    node_name: str = ""
    init_containers: tuple[PodContainer, ...] = ()
    containers: tuple[PodContainer, ...] = ()


class PodStatus(_Part, frozen=True):
    """What became of a pod."""

    phase: str = ""
    reason: str = ""
    message: str = ""
    conditions: tuple[Condition, ...] = ()
    init_container_statuses: tuple[ContainerStatus, ...] = ()
    container_statuses: tuple[ContainerStatus, ...] = ()

    @property
    def containers(self) -> tuple[ContainerStatus, ...]:
        """All of them, in the order in which they start."""
        return (*self.init_container_statuses, *self.container_statuses)


class Pod(_Part, frozen=True):
    """A pod."""

    metadata: Metadata
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()


class Template(_Part, frozen=True):
    """What a pod is made from."""

    spec: PodSpec = PodSpec()


class BatchJobSpec(_Part, frozen=True):
    """What a Job is to do."""

    completions: int | None = None
    parallelism: int | None = None
    suspend: bool | None = None
    template: Template = Template()


class BatchJobStatus(_Part, frozen=True):
    """How far a Job is."""

    active: int = 0
    succeeded: int = 0
    failed: int = 0
    conditions: tuple[Condition, ...] = ()


class BatchJob(_Part, frozen=True):
    """A Job."""

    metadata: Metadata
    spec: BatchJobSpec = BatchJobSpec()
    status: BatchJobStatus = BatchJobStatus()


class Selector(_Part, frozen=True):
    """Which pods belong to a Deployment."""

    match_labels: Mapping[str, str] = {}


class DeploymentSpec(_Part, frozen=True):
    """What a Deployment is to have."""

    replicas: int = 1
    paused: bool = False
    selector: Selector = Selector()
    template: Template = Template()


class DeploymentStatus(_Part, frozen=True):
    """What a Deployment has."""

    observed_generation: int = 0
    replicas: int = 0
    updated_replicas: int = 0
    available_replicas: int = 0
    conditions: tuple[Condition, ...] = ()


class Deployment(_Part, frozen=True):
    """A Deployment."""

    metadata: Metadata
    spec: DeploymentSpec = DeploymentSpec()
    status: DeploymentStatus = DeploymentStatus()


class ReplicaSetSpec(_Part, frozen=True):
    """What one revision of a Deployment is made from."""

    template: Annotated[dict[str, Any], Meta(description="Put back as it was by an undo.")] = {}


class ReplicaSet(_Part, frozen=True):
    """One revision of a Deployment."""

    metadata: Metadata
    spec: ReplicaSetSpec = ReplicaSetSpec()


class ObjectEvent(_Part, frozen=True):
    """What a controller or a node says of an object."""

    metadata: Metadata
    type: str = ""
    reason: str = ""
    message: str = ""
    last_timestamp: str | None = None
    event_time: str | None = None  # In its place, where it has happened once.


class ListMetadata(_Part, frozen=True):
    """Of a list: from which version on a watch sees what changes after it."""

    resource_version: str = ""


class ApiStatus(_Part, frozen=True):
    """How the API server refuses something."""

    message: str = ""
    reason: str = ""
    code: int = 0


class WatchEvent(_Part, frozen=True):
    """One line of a watch."""

    type: str
    object: msgspec.Raw


class Bookmark(_Part, frozen=True):
    """Of a bookmark only this counts."""

    metadata: ListMetadata = ListMetadata()
