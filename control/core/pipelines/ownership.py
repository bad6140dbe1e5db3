"""Decides whose things a client may touch, and which pipelines may start in its name.

The one place for both: the API asks when something is stored or ordered, the ledger when a run
has ended and triggers, the publisher when a schedule is due. What counts is what a client is at
that moment, not what it was when it wrote something down.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from control.core.pipelines.requirements import StartedPipeline
from control.model.errors import Problem
from control.model.state_rows import ClientStanding
from control.model.states import Role

_STARTERS: Final = frozenset({Role.ADMIN, Role.OPERATOR, Role.SUBMITTER})
_EVERYTHING: Final = frozenset({Role.ADMIN, Role.OPERATOR})


def reaches(role: Role, client_id: str, owner: str) -> bool:
    """Whether a client may touch what belongs to `owner`: a submitter only what is its own."""
    return role != Role.SUBMITTER or client_id == owner


def bar(client: ClientStanding) -> str | None:
    """Why nothing may start in this client's name; None: it may."""
    if client.role is None:
        return f"there is no client {client.client_id}"
    if not client.enabled:
        return f"the client {client.client_id} is disabled"
    if client.role not in _STARTERS:
        return f"the client {client.client_id} has the role {client.role}, which starts nothing"
    return None


def may_start(client: ClientStanding, owner: str) -> bool:
    """Whether this client may start a pipeline of `owner`."""
    return _start_problem(client, owner) is None


def start_refusal(starter: ClientStanding, author: ClientStanding, owner: str) -> str | None:
    """Why a run may not start a pipeline of `owner`; None: it may.

    `starter` is the client of that run, `author` the one that wrote its definition.
    An operator who runs what a submitter wrote does not lend it an operator's rights (the
    confused deputy): what is not the starter's own, its author must be allowed to start as well.
    """
    problem = _start_problem(starter, owner)
    if problem is not None or starter.client_id in {owner, author.client_id}:
        return problem
    problem = _start_problem(author, owner)
    return None if problem is None else f"{author.client_id}, who wrote the definition: {problem}"


def foreign_target(
    targets: Sequence[StartedPipeline], owners: Mapping[str, str], role: Role, client_id: str
) -> str | None:
    """Why a client may not write these down; None: it may. `owners`: by pipeline."""
    for target in targets:
        owner = owners.get(target.pipeline)
        if owner is not None and not reaches(role, client_id, owner):
            return f"{target.path}: the pipeline {target.pipeline} belongs to another client"
    return None


def target_warnings(
    targets: Sequence[StartedPipeline], owners: Mapping[str, str], runs_as: ClientStanding
) -> list[Problem]:
    """Targets that would not be started as things are now. `runs_as`: the pipeline's owner."""
    found: list[Problem] = []
    for path, name in targets:
        owner = owners.get(name)
        if owner is None:
            message = f"there is no pipeline {name} (yet); nothing is started until there is one"
            found.append(Problem(path=path, message=message))
        elif (problem := _start_problem(runs_as, owner)) is not None:
            message = f"runs of {runs_as.client_id} will not start {name}: {problem}"
            found.append(Problem(path=path, message=message))
    return found


def _start_problem(client: ClientStanding, owner: str) -> str | None:
    problem = bar(client)
    if problem is None and client.role not in _EVERYTHING and client.client_id != owner:
        return "it belongs to another client"
    return problem
