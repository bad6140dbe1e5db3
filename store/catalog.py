"""Owns the tables of pipelines, their revisions and hooks, and of the keys of repeated requests."""

import hashlib
import sqlite3
from collections.abc import Iterable
from enum import StrEnum

import msgspec

from control.model import limits
from control.model.api.views import HookView, PipelineView
from control.model.errors import Conflict, NotFound
from control.model.pipelines import Pipeline
from control.model.raw import NULL
from control.model.times import to_rfc3339
from store.queries import Statements

_SQL = Statements("catalog")


class PutEffect(StrEnum):
    """What putting a pipeline did."""

    CREATED = "created"
    REVISED = "revised"
    UNCHANGED = "unchanged"


class Put(msgspec.Struct, frozen=True, kw_only=True):
    """A pipeline as it is stored now, and what happened to it."""

    effect: PutEffect
    pipeline: PipelineView
    revision_id: int


class Owned(msgspec.Struct, frozen=True, kw_only=True):
    """What a submission needs to know of a pipeline."""

    client: str
    revision_id: int


class _Head(msgspec.Struct, frozen=True, kw_only=True):
    """What lists show of a definition."""

    stages: list[str]
    jobs: list[msgspec.Raw]
    description: str = ""
    priority: int = 10


_HEAD = msgspec.json.Decoder(_Head)


def put(conn: sqlite3.Connection, pipeline: Pipeline, client_id: str, *, now_ms: int) -> Put:
    """Create a pipeline, or make its next revision; an unchanged definition makes none.

    The pipeline stays with the client that created it.
    """
    definition = msgspec.json.encode(pipeline)
    digest = hashlib.sha256(definition).digest()
    name = pipeline.name
    found = conn.execute(_SQL["get"], (name,)).fetchone()
    if found is not None and found[7] == digest:
        return Put(effect=PutEffect.UNCHANGED, pipeline=_view(found), revision_id=found[6])
    values = (name, definition.decode(), digest, client_id, now_ms)
    revision_id = conn.execute(_SQL["insert_revision"], values).lastrowid
    assert revision_id is not None
    if found is None:
        conn.execute(_SQL["insert_pipeline"], (name, revision_id, client_id, now_ms, now_ms))
    else:
        conn.execute(_SQL["point_pipeline"], (revision_id, now_ms, name))
    return Put(
        effect=PutEffect.CREATED if found is None else PutEffect.REVISED,
        pipeline=get(conn, name),
        revision_id=revision_id,
    )


def get(conn: sqlite3.Connection, name: str) -> PipelineView:
    """A pipeline with its definition; raises `NotFound`."""
    row = conn.execute(_SQL["get"], (name,)).fetchone()
    if row is None:
        raise _no_pipeline(name)
    return _view(row)


def listing(
    conn: sqlite3.Connection, *, after: str, limit: int, client: str | None = None
) -> list[PipelineView]:
    """Pipelines by name, those after `after`, without their definitions."""
    rows = conn.execute(_SQL["page"], (after, client, limit))
    return [_view(row, full=False) for row in rows]


def delete(conn: sqlite3.Connection, name: str) -> None:
    """Remove a pipeline with its schedules and hooks; raises `NotFound`.

    Its runs and revisions stay, and what runs goes on; pipelines that trigger it say so when
    they next would.
    """
    conn.execute(_SQL["delete_planned_of_pipeline"], (name,))
    conn.execute(_SQL["delete_schedules_of_pipeline"], (name,))
    conn.execute(_SQL["delete_hooks_of_pipeline"], (name,))
    if not conn.execute(_SQL["delete_pipeline"], (name,)).rowcount:
        raise _no_pipeline(name)


def unnamed(conn: sqlite3.Connection, pipeline: Pipeline, client_id: str, *, now_ms: int) -> int:
    """The revision id of a definition that is run without being stored; equal ones share one."""
    definition = msgspec.json.encode(pipeline)
    digest = hashlib.sha256(definition).digest()
    found = conn.execute(_SQL["find_unnamed"], (digest,)).fetchone()
    if found is not None:
        return int(found[0])
    values = (pipeline.name, definition.decode(), digest, client_id, now_ms)
    revision_id = conn.execute(_SQL["insert_unnamed"], values).lastrowid
    assert revision_id is not None
    return revision_id


def owned(conn: sqlite3.Connection, name: str) -> Owned:
    """Whose pipeline it is, and its newest revision; raises `NotFound`."""
    found = find(conn, name)
    if found is None:
        raise _no_pipeline(name)
    return found


def find(conn: sqlite3.Connection, name: str) -> Owned | None:
    """Whose pipeline it is, and its newest revision; None: there is no such pipeline."""
    row = conn.execute(_SQL["owner"], (name,)).fetchone()
    return None if row is None else Owned(client=row[0], revision_id=row[1])


def owners(conn: sqlite3.Connection, names: Iterable[str]) -> dict[str, str]:
    """Whose these pipelines are; those that do not exist are missing."""
    wanted = msgspec.json.encode(sorted(set(names))).decode()
    return dict(conn.execute(_SQL["owners"], (wanted,)))


def add_hook(
    conn: sqlite3.Connection, name: str, client_id: str, *, token: str, now_ms: int
) -> HookView:
    """Let whoever has this token start runs of a pipeline; raises `NotFound`, `Conflict`."""
    owned(conn, name)
    if conn.execute(_SQL["count_hooks"], (name,)).fetchone()[0] >= limits.HOOKS_PER_PIPELINE_MAX:
        message = f"{name} has {limits.HOOKS_PER_PIPELINE_MAX} hooks, which is the limit"
        raise Conflict(message)
    (hook_id,) = conn.execute(_SQL["next_hook_id"]).fetchone()
    values = (hook_id, name, client_id, _token_digest(token), now_ms)
    conn.execute(_SQL["insert_hook"], values)
    return HookView(id=hook_id, pipeline=name, client=client_id, created_at=to_rfc3339(now_ms))


def hooks(conn: sqlite3.Connection, name: str, *, after: int, limit: int) -> list[HookView]:
    """A pipeline's hooks by id; raises `NotFound` when there is no such pipeline."""
    owned(conn, name)
    return [
        HookView(id=hook_id, pipeline=pipeline, client=client, created_at=to_rfc3339(created_ms))
        for hook_id, pipeline, client, created_ms in conn.execute(
            _SQL["hooks"], (name, after, limit)
        )
    ]


def delete_hook(conn: sqlite3.Connection, name: str, hook_id: int) -> None:
    """Close a hook; raises `NotFound`."""
    if not conn.execute(_SQL["delete_hook"], (name, hook_id)).rowcount:
        message = f"{name} has no hook {hook_id}"
        raise NotFound(message)


def hook_target(conn: sqlite3.Connection, token: str) -> tuple[str, str]:
    """The pipeline a token starts, and the client it runs as; raises `NotFound`."""
    row = conn.execute(_SQL["hook_by_digest"], (_token_digest(token),)).fetchone()
    if row is None:
        message = "there is no hook with this token"
        raise NotFound(message)
    return row[0], row[1]


def recall(
    conn: sqlite3.Connection, client_id: str, key: str, digest: bytes, *, now_ms: int
) -> int | None:
    """The (first) run that this key made earlier; raises `Conflict` for another request."""
    since_ms = now_ms - limits.IDEMPOTENCY_TTL_MS
    row = conn.execute(_SQL["recall"], (client_id, key, since_ms)).fetchone()
    if row is None:
        return None
    if row[0] != digest:
        message = "this Idempotency-Key was used for another request in the last 24 hours"
        raise Conflict(message)
    return int(row[1])


def remember(
    conn: sqlite3.Connection, client_id: str, key: str, digest: bytes, *, run_id: int, now_ms: int
) -> None:
    """Keep which (first) run a key made."""
    conn.execute(_SQL["remember"], (client_id, key, digest, run_id, now_ms))


def forget(conn: sqlite3.Connection, *, now_ms: int, limit: int) -> int:
    """Drop keys older than a day, at most so many; returns how many."""
    before_ms = now_ms - limits.IDEMPOTENCY_TTL_MS
    return conn.execute(_SQL["forget"], (before_ms, limit)).rowcount


def _token_digest(token: str) -> bytes:
    # A token has 256 random bits: nothing to guess, so no slow hash is needed.
    return hashlib.sha256(token.encode()).digest()


def _no_pipeline(name: str) -> NotFound:
    return NotFound(f"there is no pipeline {name}")


def _view(
    row: tuple[str, int, str, int, int, str, int, bytes], *, full: bool = True
) -> PipelineView:
    name, revision, client, created_ms, updated_ms, definition = row[:6]
    head = _HEAD.decode(definition)
    return PipelineView(
        name=name,
        revision=revision,
        client=client,
        description=head.description,
        priority=head.priority,
        stages=head.stages,
        jobs=len(head.jobs),
        created_at=to_rfc3339(created_ms),
        updated_at=to_rfc3339(updated_ms),
        definition=msgspec.Raw(definition.encode()) if full else NULL,
    )
