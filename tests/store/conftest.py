"""Owns the fixture of a database to test with."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.store.world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "state.db")
    world.client("ann")
    world.client("bob")
    yield world
    world.conn.close()
