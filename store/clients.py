"""Owns the table of clients. Secrets come in hashed; nothing here can give one back."""

import sqlite3
from collections.abc import Sequence

import msgspec

from control.model.api.views import ClientView
from control.model.errors import Conflict, NotFound
from control.model.state_rows import ClientStanding
from control.model.states import Role
from control.model.times import to_rfc3339
from store.queries import Statements

_SQL = Statements("clients")


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What a client may do, and how much of it."""

    role: Role
    priority: int
    max_queued: int | None
    max_running: int | None
    enabled: bool


class StoredSecret(msgspec.Struct, frozen=True, kw_only=True):
    """What a secret is checked against."""

    secret_hash: str
    role: Role
    enabled: bool


def create(
    conn: sqlite3.Connection, client_id: str, terms: Terms, *, secret_hash: str, now_ms: int
) -> ClientView:
    """Add a client; raises `Conflict` when the id is taken."""
    values = (client_id, *_values(terms), secret_hash, now_ms)
    if not conn.execute(_SQL["insert"], values).rowcount:
        message = f"there is a client {client_id} already"
        raise Conflict(message)
    return get(conn, client_id)


def listing(conn: sqlite3.Connection, *, after: str, limit: int) -> list[ClientView]:
    """Clients by id, those after `after`."""
    return [_view(row) for row in conn.execute(_SQL["page"], (after, limit))]


def get(conn: sqlite3.Connection, client_id: str) -> ClientView:
    """One client; raises `NotFound`."""
    row = conn.execute(_SQL["get"], (client_id,)).fetchone()
    if row is None:
        message = f"there is no client {client_id}"
        raise NotFound(message)
    return _view(row)


def update(conn: sqlite3.Connection, client_id: str, terms: Terms) -> ClientView:
    """Change a client; raises `NotFound`, and `Conflict` when no admin would be left."""
    if terms.role != Role.ADMIN or not terms.enabled:
        _keep_an_admin(conn, get(conn, client_id))
    conn.execute(_SQL["update"], (*_values(terms), client_id))
    return get(conn, client_id)


def rotate(conn: sqlite3.Connection, client_id: str, secret_hash: str) -> ClientView:
    """Give a client another secret; raises `NotFound`."""
    conn.execute(_SQL["rotate"], (secret_hash, client_id))
    return get(conn, client_id)


def delete(conn: sqlite3.Connection, client_id: str) -> None:
    """Remove a client and its hooks; raises `NotFound`, or `Conflict` where it is still needed.

    Its open runs take their priority and limits from it, its pipelines' schedules run as it.
    """
    _keep_an_admin(conn, get(conn, client_id))
    if conn.execute(_SQL["open_run"], (client_id,)).fetchone():
        message = f"{client_id} has runs that have not ended; disable it, or cancel them first"
        raise Conflict(message)
    owned = [name for (name,) in conn.execute(_SQL["owned_pipelines"], (client_id,))]
    if owned:
        message = f"{client_id} owns pipelines ({', '.join(owned)}); delete them, or disable it"
        raise Conflict(message)
    conn.execute(_SQL["delete_hooks"], (client_id,))
    conn.execute(_SQL["delete"], (client_id,))


def login(conn: sqlite3.Connection, client_id: str) -> StoredSecret | None:
    """What to check a secret against; None when there is no such client."""
    row = conn.execute(_SQL["login"], (client_id,)).fetchone()
    if row is None:
        return None
    return StoredSecret(secret_hash=row[0], role=Role(row[1]), enabled=bool(row[2]))


def standing(conn: sqlite3.Connection, client_id: str) -> ClientStanding:
    """What a client is now, also one that does not exist (any more)."""
    row = conn.execute(_SQL["standing"], (client_id,)).fetchone()
    if row is None:
        return ClientStanding(client_id=client_id, role=None)
    return ClientStanding(client_id=client_id, role=Role(row[0]), enabled=bool(row[1]))


def limits_of(conn: sqlite3.Connection, client_id: str) -> tuple[int, int | None]:
    """The client's priority and `max_running`; raises `NotFound`."""
    row = conn.execute(_SQL["limits"], (client_id,)).fetchone()
    if row is None:
        message = f"there is no client {client_id}"
        raise NotFound(message)
    return row[0], row[1]


def has_admin(conn: sqlite3.Connection) -> bool:
    """Whether anybody could administer this: the first start makes an admin."""
    return bool(conn.execute(_SQL["any_admin"]).fetchone()[0])


def _keep_an_admin(conn: sqlite3.Connection, client: ClientView) -> None:
    if client.role != Role.ADMIN or not client.enabled:
        return
    if not conn.execute(_SQL["other_admins"], (client.client_id,)).fetchone()[0]:
        message = f"{client.client_id} is the only admin; nobody could administer this any more"
        raise Conflict(message)


def _values(terms: Terms) -> tuple[str, int, int | None, int | None, int]:
    return (
        terms.role,
        terms.priority,
        terms.max_queued,
        terms.max_running,
        int(terms.enabled),
    )


def _view(row: Sequence[str | int | None]) -> ClientView:
    client_id, role, priority, max_queued, max_running, enabled, waiting, created_ms = row
    assert isinstance(created_ms, int)
    return msgspec.convert(
        {
            "client_id": client_id,
            "role": role,
            "priority": priority,
            "max_queued": max_queued,
            "max_running": max_running,
            "enabled": bool(enabled),
            "waiting": waiting,
            "created_at": to_rfc3339(created_ms),
        },
        ClientView,
    )
