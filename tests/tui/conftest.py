"""Owns what several tests of the console share."""

from pathlib import Path

import pytest

from bench.shots import scene


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The made-up system."""
    return scene.write(tmp_path_factory.mktemp("scene") / "live.jsonl")
