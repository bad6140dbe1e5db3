"""Holds the table of clients to its rules."""

import msgspec
import pytest

from control.model.errors import Conflict, NotFound
from control.model.states import Role
from store import catalog, clients
from tests.store.world import NOW_MS, TERMS, World, pipeline


def test_a_client_comes_back_as_it_was_made(world: World) -> None:
    terms = msgspec.structs.replace(TERMS, max_queued=5, max_running=2, priority=-1)
    made = clients.create(world.conn, "cat", terms, secret_hash="h", now_ms=NOW_MS)
    assert clients.get(world.conn, "cat") == made
    assert (made.max_queued, made.max_running, made.priority) == (5, 2, -1)
    assert clients.limits_of(world.conn, "cat") == (-1, 2)
    assert [c.client_id for c in clients.listing(world.conn, after="", limit=2)] == ["ann", "bob"]
    assert [c.client_id for c in clients.listing(world.conn, after="bob", limit=2)] == ["cat"]


def test_an_id_is_taken_once(world: World) -> None:
    with pytest.raises(Conflict):
        clients.create(world.conn, "ann", TERMS, secret_hash="h", now_ms=NOW_MS)


def test_what_does_not_exist_is_not_found(world: World) -> None:
    with pytest.raises(NotFound):
        clients.update(world.conn, "eve", TERMS)
    with pytest.raises(NotFound):
        clients.rotate(world.conn, "eve", "h")
    with pytest.raises(NotFound):
        clients.delete(world.conn, "eve")
    assert clients.login(world.conn, "eve") is None


def test_the_last_admin_stays(world: World) -> None:
    world.client("root", Role.ADMIN)
    admin = msgspec.structs.replace(TERMS, role=Role.ADMIN)
    for terms in (TERMS, msgspec.structs.replace(admin, enabled=False)):
        with pytest.raises(Conflict, match="only admin"):
            clients.update(world.conn, "root", terms)
    with pytest.raises(Conflict, match="only admin"):
        clients.delete(world.conn, "root")
    world.client("root2", Role.ADMIN)
    clients.delete(world.conn, "root")
    assert clients.has_admin(world.conn)


def test_a_client_with_open_runs_or_pipelines_stays(world: World) -> None:
    [run] = world.submit(pipeline(), "ann")
    with pytest.raises(Conflict, match="not ended"):
        clients.delete(world.conn, "ann")
    world.cancel(run.id)
    with pytest.raises(Conflict, match="owns pipelines"):
        clients.delete(world.conn, "ann")
    catalog.delete(world.conn, "nightly")
    clients.delete(world.conn, "ann")


def test_a_secret_can_be_replaced(world: World) -> None:
    clients.rotate(world.conn, "ann", "other")
    login = clients.login(world.conn, "ann")
    assert login is not None
    assert (login.secret_hash, login.role, login.enabled) == ("other", Role.SUBMITTER, True)
