"""Decides what a Job is called and marked with, so that it is started once and recognized later.

All attempts that follow lost ones share a name, so the API server itself refuses a second Job.
"""

import hashlib
import re
from collections.abc import Mapping
from copy import deepcopy
from typing import Any, Final

from control.model import kinds
from workers.kinds.kubernetes.objects import Metadata
from workers.kinds.processes import job_environment

# `WorkerSettings` knows no domain of its operator's, so the prefix is ours.
INSTALLATION: Final = "taskplane/installation"
RUN: Final = "taskplane/run"
JOB: Final = "taskplane/job"
ATTEMPT: Final = "taskplane/attempt"
JOB_NAME: Final = "taskplane/job-name"  # Annotations: a label's value may not be that long.
PIPELINE: Final = "taskplane/pipeline"
MANAGER: Final = "taskplane"  # Of fields.

_PREFIX_CHARS: Final = 30  # Of at most 63: the controller adds to it what makes pods differ.
_DIGEST_CHARS: Final = 6
_NOT_IN_NAMES: Final = re.compile(r"[^a-z0-9]+")


def labels(job: kinds.Job) -> dict[str, str]:
    """Of the Job and its pods."""
    return {
        INSTALLATION: job.installation,
        RUN: str(job.run_id),
        JOB: str(job.job_id),
        ATTEMPT: str(job.attempt),
    }


def attempt_of(metadata: Metadata) -> int:
    """The attempt that has a Job now; 0: it is none of ours."""
    text = metadata.labels.get(ATTEMPT, "")
    return int(text) if text.isascii() and text.isdecimal() else 0


def is_of(metadata: Metadata, job: kinds.Job) -> bool:
    """Whether an object was made for this job."""
    wanted = labels(job)
    return all(metadata.labels.get(name) == wanted[name] for name in (INSTALLATION, RUN, JOB))


def job_name(prefix: str, job: kinds.Job) -> str:
    """The name of the Job of an attempt, and of those that adopt it."""
    key = f"{job.installation} {job.job_id} {job.first_attempt}"
    digest = hashlib.sha256(key.encode()).hexdigest()[:_DIGEST_CHARS]
    slug = _NOT_IN_NAMES.sub("-", prefix.lower())[:_PREFIX_CHARS].strip("-") or "job"
    return f"{slug}-{job.job_id}-{job.first_attempt}-{digest}"


def own_manifest(manifest: Mapping[str, Any], job: kinds.Job) -> dict[str, Any]:
    """The manifest as it is sent: with our name, marks, and environment."""
    own = deepcopy(dict(manifest))
    own.setdefault("apiVersion", "batch/v1")
    own.setdefault("kind", "Job")
    metadata = own["metadata"] = own.get("metadata") or {}
    prefix = metadata.get("name") or metadata.pop("generateName", None) or job.name
    metadata["name"] = job_name(prefix, job)
    template = own["spec"]["template"]
    notes = {JOB_NAME: job.name, PIPELINE: job.this.pipeline or ""}
    template["metadata"] = template.get("metadata") or {}
    for part in (metadata, template["metadata"]):
        part["labels"] = {**(part.get("labels") or {}), **labels(job)}
        part["annotations"] = {**(part.get("annotations") or {}), **notes}
    environment = {**job.env, **job_environment(job)}
    for kind in ("initContainers", "containers"):
        for container in template["spec"].get(kind) or []:
            _add_environment(container, environment)
    return own


def _add_environment(container: dict[str, Any], environment: Mapping[str, str]) -> None:
    own = container.get("env") or []
    named = {each.get("name") for each in own}
    # Dollar signs are doubled, because the API expands $(NAME) in values.
    container["env"] = own + [
        {"name": name, "value": value.replace("$", "$$")}
        for name, value in environment.items()
        if name not in named
    ]
