"""Decides what is applied to a Deployment: all that Taskplane owns of it, and what a job asks for.

A field that a manager has applied once and then leaves out is removed from the object. So a job
that changes just the image applies again what earlier jobs have applied.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any, Final, NamedTuple

import msgspec

from control.model import kinds
from control.model.errors import JobFailed
from workers.kinds.kubernetes import ownership

REVISION: Final = "deployment.kubernetes.io/revision"
BEFORE: Final = "taskplane/revision-before"  # An annotation: where an undo goes back to.

Object = dict[str, Any]


class DeploymentChange(NamedTuple):
    """What a job asks for."""

    name: str
    image: str
    container: str | None
    replicas: int | None
    manifest: Mapping[str, Any] | None


class AppliedChange(NamedTuple):
    """What is applied, and the container whose image is watched."""

    body: Object
    container: str
    revision_before: int  # 0: there was no Deployment.


def to_apply(change: DeploymentChange, job: kinds.Job, existing: Object | None) -> AppliedChange:
    """Raises JobFailed, in words, when the Deployment or its container is not there."""
    if change.manifest is not None:
        body: Object = deepcopy(dict(change.manifest))
        containers = body["spec"]["template"]["spec"]["containers"]
    elif existing is not None:
        body = _own(existing)
        containers = existing["spec"]["template"]["spec"]["containers"]
    else:
        raise JobFailed(
            f"there is no Deployment {change.name!r}; create it, or give its `manifest`", final=True
        )
    container = _container(change, [each["name"] for each in containers])
    body |= {"apiVersion": "apps/v1", "kind": "Deployment"}
    metadata = body["metadata"] = body.get("metadata") or {}
    metadata["name"] = change.name
    spec = body.setdefault("spec", {})
    if change.replicas is not None:
        spec["replicas"] = change.replicas
    template = spec.setdefault("template", {}).setdefault("spec", {})
    listed = template.setdefault("containers", [])
    if all(each["name"] != container for each in listed):
        listed.append({"name": container})
    for each in listed:
        if each["name"] == container:
            each["image"] = change.image
    before = _revision_before(job, existing)
    marks = {
        ownership.JOB: f"{job.installation}/{job.job_id}",
        ownership.RUN: str(job.run_id),
        ownership.ATTEMPT: str(job.attempt),
        ownership.PIPELINE: job.this.pipeline or "",
        BEFORE: str(before),
    }
    metadata["annotations"] = {**(metadata.get("annotations") or {}), **marks}
    return AppliedChange(body, container, before)


def revision_of(annotations: Mapping[str, str]) -> int:
    """The number of a Deployment's or ReplicaSet's revision; 0: it has none yet."""
    return _number(annotations.get(REVISION))


def _number(text: str | None) -> int:
    return int(text) if text is not None and text.isascii() and text.isdecimal() else 0


def _revision_before(job: kinds.Job, existing: Object | None) -> int:
    """The revision before the job, also where a lost attempt of it has applied its change."""
    if existing is None:
        return 0
    annotations = existing["metadata"].get("annotations", {})
    if annotations.get(ownership.JOB) == f"{job.installation}/{job.job_id}":
        attempt = _number(annotations.get(ownership.ATTEMPT))
        if job.first_attempt <= attempt < job.attempt:
            return _number(annotations.get(BEFORE))
    return revision_of(annotations)


def _container(change: DeploymentChange, names: Sequence[str]) -> str:
    listed = ", ".join(names)
    if change.container is None:
        if len(names) != 1:
            raise JobFailed(
                f"the Deployment {change.name!r} has several containers ({listed}); say in "
                "`container` which one gets the image",
                final=True,
            )
        return names[0]
    if change.container not in names:
        raise JobFailed(
            f"the Deployment {change.name!r} has no container {change.container!r}; it has: "
            f"{listed}",
            final=True,
        )
    return change.container


def _own(existing: Object) -> Object:
    """What our earlier jobs have applied."""
    for entry in existing["metadata"].get("managedFields", ()):
        manager = entry.get("manager"), entry.get("operation"), entry.get("subresource", "")
        if manager == (ownership.MANAGER, "Apply", ""):
            own = owned(existing, entry.get("fieldsV1", {}))
            assert isinstance(own, dict)
            return own
    return {}


def owned(value: Any, fields: Mapping[str, Any]) -> Any:  # noqa: ANN401 - Any JSON.
    """The part of an object that a field manager owns, as `managedFields` describes it."""
    if not fields:
        return deepcopy(value)
    parts = [(key.partition(":"), part) for key, part in fields.items() if key != "."]
    if isinstance(value, dict):
        return {name: owned(value[name], part) for (_, _, name), part in parts if name in value}
    if not isinstance(value, list):
        return value
    # In the object's own order, which the next apply would change otherwise.
    keys = [(form, msgspec.json.decode(text), part) for (form, _, text), part in parts]
    return [
        each if form == "v" else {**key, **owned(each, part)}
        for each in value
        for form, key, part in keys
        if (each == key if form == "v" else _has(each, key))
    ]


def _has(entry: Object, key: Object) -> bool:
    """Whether an entry of a list is the one that is named by these of its fields."""
    return all(entry.get(name) == its for name, its in key.items())
