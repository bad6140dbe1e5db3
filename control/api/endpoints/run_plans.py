"""Decides which runs a request starts: a plan is made of the request, and carried out at once.

What a plan reads of the store, it reads inside the transaction that starts its runs.
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec
from msgspec import Raw

from control.api.auth.authentication import Caller
from control.api.auth.permissions import check_pipeline, check_targets
from control.api.endpoints.schemas import BatchItem
from control.core.pipelines import ownership
from control.core.pipelines.requirements import targets_of
from control.model import limits
from control.model.errors import Invalid, NotFound, Problem
from control.model.pipelines import Pipeline
from control.model.state_rows import NewRun
from control.model.states import Trigger
from store import catalog, clients
from store.database.connection import Connection


class RunPlan(Protocol):
    """Runs that a request asks for."""

    @property
    def count(self) -> int:
        """How many."""

    def new_runs(self, conn: Connection, now_ms: int) -> list[NewRun]:
        """What to insert; raises `NotFound`, `Invalid`, or `Forbidden`."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What a request says of one run."""

    client: str
    trigger: Trigger
    input: Raw
    priority: int | None = None


class StoredPlan(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a stored pipeline."""

    who: Caller
    pipeline: str
    wanted: Wanted
    count: int = 1

    def new_runs(self, conn: Connection, now_ms: int) -> list[NewRun]:
        """Of its current revision."""
        owned = catalog.owned(conn, self.pipeline)
        check_pipeline(self.who, self.pipeline, owned.client)
        return [_new(conn, owned.revision_id, self.wanted, now_ms)]


class UnnamedPlan(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a definition that is stored for it alone."""

    who: Caller
    pipeline: Pipeline
    wanted: Wanted
    count: int = 1

    def new_runs(self, conn: Connection, now_ms: int) -> list[NewRun]:
        """Stores the definition as well."""
        targets = targets_of(self.pipeline)
        owners = catalog.owners(conn, (target.pipeline for target in targets))
        check_targets(self.who, targets, owners)
        revision_id = catalog.unnamed(conn, self.pipeline, self.wanted.client, now_ms=now_ms)
        return [_new(conn, revision_id, self.wanted, now_ms)]


class BatchPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Many runs of stored pipelines, all or none. `inputs`: one for each item."""

    who: Caller
    trigger: Trigger
    items: Sequence[BatchItem]
    inputs: Sequence[Raw]

    @property
    def count(self) -> int:
        """One for each item."""
        return len(self.items)

    def new_runs(self, conn: Connection, now_ms: int) -> list[NewRun]:
        """Of their pipelines' current revisions."""
        revisions = self._revisions(conn)
        priority, max_running = clients.limits_of(conn, self.who.client_id)
        return [
            NewRun(
                revision_id=revisions[item.pipeline],
                client=self.who.client_id,
                client_priority=priority,
                max_running=max_running,
                trigger=self.trigger,
                created_ms=now_ms,
                priority=item.priority,
                input=run_input,
            )
            for item, run_input in zip(self.items, self.inputs, strict=True)
        ]

    def _revisions(self, conn: Connection) -> dict[str, int]:
        """By name, each looked up once; raises `Invalid` with every name there is not."""
        revisions: dict[str, int] = {}
        problems: list[Problem] = []
        for at, item in enumerate(self.items):
            if item.pipeline in revisions:
                continue
            revisions[item.pipeline] = 0
            try:
                owned = catalog.owned(conn, item.pipeline)
            except NotFound as error:
                problems.append(Problem(path=f"runs[{at}].pipeline", message=str(error)))
            else:
                check_pipeline(self.who, item.pipeline, owned.client)
                revisions[item.pipeline] = owned.revision_id
        if problems:
            raise Invalid(tuple(problems[: limits.PROBLEMS_MAX]))
        return revisions


class HookPlan(msgspec.Struct, frozen=True, kw_only=True):
    """One run of the pipeline that a hook is of, in the name of the hook's client."""

    token: str
    input: Raw
    count: int = 1

    def new_runs(self, conn: Connection, now_ms: int) -> list[NewRun]:
        """Of its current revision."""
        name, client = catalog.hook_target(conn, self.token)
        owned = catalog.owned(conn, name)
        # What its client is now: a hook may do no more than who made it.
        if not ownership.may_start(clients.standing(conn, client), owned.client):
            message = "there is no hook with this token"
            raise NotFound(message)
        wanted = Wanted(client=client, trigger=Trigger.HOOK, input=self.input)
        return [_new(conn, owned.revision_id, wanted, now_ms)]


def _new(conn: Connection, revision_id: int, wanted: Wanted, now_ms: int) -> NewRun:
    priority, max_running = clients.limits_of(conn, wanted.client)
    return NewRun(
        revision_id=revision_id,
        client=wanted.client,
        client_priority=priority,
        max_running=max_running,
        trigger=wanted.trigger,
        created_ms=now_ms,
        priority=wanted.priority,
        input=wanted.input,
    )
