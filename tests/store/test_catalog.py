"""Holds pipelines, revisions, hooks, and idempotency keys to their rules."""

import pytest

from control.model import limits
from control.model.errors import Conflict, NotFound
from store import catalog
from store.catalog import PutEffect
from tests.store.world import NOW_MS, World, pipeline


def test_every_change_is_a_revision_and_nothing_else_is(world: World) -> None:
    first = catalog.put(world.conn, pipeline(), "ann", now_ms=NOW_MS)
    same = catalog.put(world.conn, pipeline(), "ann", now_ms=NOW_MS + 1)
    other = catalog.put(world.conn, pipeline(jobs=3), "bob", now_ms=NOW_MS + 2)
    assert [put.effect for put in (first, same, other)] == [
        PutEffect.CREATED,
        PutEffect.UNCHANGED,
        PutEffect.REVISED,
    ]
    assert [put.pipeline.revision for put in (first, same, other)] == [1, 1, 2]
    assert first.revision_id == same.revision_id != other.revision_id
    assert other.pipeline.client == "ann"
    assert other.pipeline.jobs == 4


def test_numbers_go_on_after_a_deletion(world: World) -> None:
    catalog.put(world.conn, pipeline(), "ann", now_ms=NOW_MS)
    hook = catalog.add_hook(world.conn, "nightly", "ann", token="t", now_ms=NOW_MS)
    catalog.delete(world.conn, "nightly")
    with pytest.raises(NotFound):
        catalog.get(world.conn, "nightly")
    with pytest.raises(NotFound):
        catalog.hook_target(world.conn, "t")
    assert hook.id == 1
    again = catalog.put(world.conn, pipeline(), "bob", now_ms=NOW_MS)
    assert (again.effect, again.pipeline.revision, again.pipeline.client) == (
        PutEffect.CREATED,
        2,
        "bob",
    )


def test_equal_unnamed_definitions_share_a_revision(world: World) -> None:
    one = catalog.unnamed(world.conn, pipeline(), "ann", now_ms=NOW_MS)
    assert catalog.unnamed(world.conn, pipeline(), "bob", now_ms=NOW_MS) == one
    assert catalog.unnamed(world.conn, pipeline(jobs=5), "ann", now_ms=NOW_MS) != one
    assert catalog.put(world.conn, pipeline(), "ann", now_ms=NOW_MS).pipeline.revision == 1


def test_lists_go_by_name_and_owner(world: World) -> None:
    for name, owner in (("b", "ann"), ("a", "bob"), ("c", "ann")):
        catalog.put(world.conn, pipeline(name), owner, now_ms=NOW_MS)
    every = catalog.listing(world.conn, after="", limit=2)
    assert [p.name for p in every] == ["a", "b"]
    assert [bytes(p.definition) for p in every] == [b"null"] * 2
    assert [p.name for p in catalog.listing(world.conn, after="b", limit=2)] == ["c"]
    mine = catalog.listing(world.conn, after="", limit=9, client="ann")
    assert [p.name for p in mine] == ["b", "c"]


def test_hooks_belong_to_a_pipeline(world: World) -> None:
    catalog.put(world.conn, pipeline(), "ann", now_ms=NOW_MS)
    made = catalog.add_hook(world.conn, "nightly", "bob", token="secret", now_ms=NOW_MS)
    assert catalog.hooks(world.conn, "nightly", after=0, limit=9) == [made]
    assert catalog.hook_target(world.conn, "secret") == ("nightly", "bob")
    with pytest.raises(NotFound):
        catalog.delete_hook(world.conn, "other", made.id)
    catalog.delete_hook(world.conn, "nightly", made.id)
    with pytest.raises(NotFound):
        catalog.hook_target(world.conn, "secret")
    with pytest.raises(NotFound):
        catalog.add_hook(world.conn, "none", "ann", token="x", now_ms=NOW_MS)


def test_a_key_holds_for_a_day_and_one_request(world: World) -> None:
    catalog.remember(world.conn, "ann", "k", b"d", run_id=7, now_ms=NOW_MS)
    assert catalog.recall(world.conn, "ann", "k", b"d", now_ms=NOW_MS) == 7
    assert catalog.recall(world.conn, "bob", "k", b"d", now_ms=NOW_MS) is None
    with pytest.raises(Conflict):
        catalog.recall(world.conn, "ann", "k", b"other", now_ms=NOW_MS)
    later_ms = NOW_MS + limits.IDEMPOTENCY_TTL_MS
    assert catalog.recall(world.conn, "ann", "k", b"other", now_ms=later_ms) is None
    catalog.remember(world.conn, "ann", "k", b"other", run_id=8, now_ms=later_ms)
    assert catalog.forget(world.conn, now_ms=later_ms, limit=10) == 0
    assert catalog.forget(world.conn, now_ms=2 * later_ms, limit=10) == 1
