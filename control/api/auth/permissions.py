"""Decides which role may call what: one table, and whose things a submitter may touch.

A submitter sees its own pipelines and runs. What is another's and is named by the caller (a
pipeline) is refused in words, 403: names are no secret, and a clash has to be explained. What is
only numbered (runs, jobs) is not found, 404: numbers can be tried, and must tell nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from control.api.auth.authentication import Caller
from control.core.pipelines import ownership
from control.core.pipelines.requirements import StartedPipeline
from control.model.errors import Forbidden, NotFound
from control.model.states import Role

_READ: Final = frozenset({Role.ADMIN, Role.OPERATOR, Role.SUBMITTER, Role.VIEWER})
_WRITE: Final = frozenset({Role.ADMIN, Role.OPERATOR, Role.SUBMITTER})
_OPERATE: Final = frozenset({Role.ADMIN, Role.OPERATOR})
_WATCH: Final = frozenset({Role.ADMIN, Role.OPERATOR, Role.VIEWER})
_ADMIN: Final = frozenset({Role.ADMIN})
_EVERY: Final = frozenset(Role)

# None: no credentials are asked for.
ROLES: Final[dict[tuple[str, str], frozenset[Role] | None]] = {
    ("GET", "/v1/health"): None,
    ("GET", "/v1/doctor"): _OPERATE,
    ("GET", "/v1/pipelines"): _READ,
    ("POST", "/v1/pipelines"): _WRITE,
    ("POST", "/v1/pipelines/validate"): _READ,
    ("GET", "/v1/pipelines/{name}"): _READ,
    ("PUT", "/v1/pipelines/{name}"): _WRITE,
    ("DELETE", "/v1/pipelines/{name}"): _WRITE,
    ("POST", "/v1/pipelines/{name}/runs"): _WRITE,
    ("GET", "/v1/pipelines/{name}/hooks"): _WRITE,
    ("POST", "/v1/pipelines/{name}/hooks"): _WRITE,
    ("DELETE", "/v1/pipelines/{name}/hooks/{hook_id}"): _WRITE,
    ("POST", "/v1/hooks/{token}"): None,
    ("GET", "/v1/runs"): _READ,
    ("POST", "/v1/runs"): _WRITE,
    ("POST", "/v1/runs:batch"): _WRITE,
    ("GET", "/v1/runs/{run_id}"): _READ,
    ("DELETE", "/v1/runs/{run_id}"): _WRITE,
    ("POST", "/v1/runs/{run_id}/cancel"): _WRITE,
    ("POST", "/v1/runs/{run_id}/retry"): _WRITE,
    ("GET", "/v1/runs/{run_id}/jobs"): _READ,
    ("GET", "/v1/jobs/{job_id}"): _READ,
    ("PATCH", "/v1/jobs/{job_id}"): _WRITE,
    ("POST", "/v1/jobs/{job_id}/cancel"): _WRITE,
    ("GET", "/v1/jobs/{job_id}/logs"): _READ,
    ("GET", "/v1/jobs/{job_id}/explain"): _READ,
    ("GET", "/v1/schedules"): _READ,
    ("GET", "/v1/schedules/plan"): _READ,
    ("GET", "/v1/scheduled-runs"): _READ,
    ("GET", "/v1/forecast"): _READ,
    ("POST", "/v1/schedules/{schedule_id}/pause"): _WRITE,
    ("POST", "/v1/schedules/{schedule_id}/resume"): _WRITE,
    ("POST", "/v1/schedules/{schedule_id}/trigger"): _WRITE,
    ("POST", "/v1/schedules/{schedule_id}/backfill"): _WRITE,
    ("GET", "/v1/schedules/{schedule_id}/backfill"): _READ,
    ("GET", "/v1/workers"): _WATCH,  # It shows what they run.
    ("GET", "/v1/workers/{worker_id}/history"): _WATCH,
    ("POST", "/v1/workers/{worker_id}/drain"): _OPERATE,
    ("GET", "/v1/queues"): _READ,
    ("GET", "/v1/partitions"): _READ,
    ("GET", "/v1/partitions/{partition}"): _WATCH,  # It shows what runs in it.
    ("GET", "/v1/partitions/split"): _WATCH,  # It names jobs of all clients, and workers.
    ("PUT", "/v1/partitions/split"): _OPERATE,
    ("GET", "/v1/stats/summary"): _WATCH,
    ("GET", "/v1/stats/pipelines"): _WATCH,
    ("GET", "/v1/stats/slow-tasks"): _WATCH,
    ("GET", "/v1/stats/task"): _WATCH,
    ("GET", "/v1/stats/partitions"): _WATCH,
    ("GET", "/v1/stats/workers"): _WATCH,
    ("GET", "/v1/stats/export"): _WATCH,
    ("POST", "/v1/stats/sql"): _WATCH,
    ("GET", "/v1/clients"): _ADMIN,
    ("POST", "/v1/clients"): _ADMIN,
    ("PATCH", "/v1/clients/{client_id}"): _ADMIN,
    ("DELETE", "/v1/clients/{client_id}"): _ADMIN,
    ("POST", "/v1/clients/{client_id}/rotate"): _ADMIN,
    ("GET", "/v1/events"): _WATCH,
    ("GET", "/metrics"): _WATCH,
    ("GET", "/schema/openapi.json"): _EVERY,
}


def check_role(who: Caller, allowed: frozenset[Role]) -> None:
    """Raise `Forbidden` when the caller's role is not among these."""
    if who.role not in allowed:
        roles = ", ".join(sorted(allowed))
        message = f"{who.client_id} has the role {who.role}; this needs one of: {roles}"
        raise Forbidden(message)


def only_of(who: Caller) -> str | None:
    """The client whose things are all that the caller sees; None: everybody's."""
    return who.client_id if who.role == Role.SUBMITTER else None


def check_pipeline(who: Caller, name: str, owner: str) -> None:
    """Raise `Forbidden` when a pipeline is not the caller's to touch."""
    if not ownership.reaches(who.role, who.client_id, owner):
        message = f"the pipeline {name} belongs to another client"
        raise Forbidden(message)


def check_targets(
    who: Caller, targets: Sequence[StartedPipeline], owners: Mapping[str, str]
) -> None:
    """Raise `Forbidden` when one would start what the caller may not. `owners`: by name."""
    message = ownership.foreign_target(targets, owners, who.role, who.client_id)
    if message is not None:
        raise Forbidden(message)


def check_numbered(who: Caller, what: str, owner: str) -> None:
    """Raise `NotFound` when a run or job is not the caller's to see."""
    if not ownership.reaches(who.role, who.client_id, owner):
        message = f"there is no {what}"
        raise NotFound(message)
