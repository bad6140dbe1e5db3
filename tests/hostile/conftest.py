"""Owns how many cases the fuzzers try, and the control plane that they attack."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hostile.plane import Plane, plane_in


class Budget:
    """How many cases a fuzzer tries: a few, or as many as there is time for."""

    def __init__(self, seed: int, seconds: float | None) -> None:
        self._seed = seed
        self._seconds = seconds

    def cases(self, usual: int) -> Iterator[int]:
        """The seed of each case."""
        end = None if self._seconds is None else time.monotonic() + self._seconds
        seed = self._seed * 1_000_000
        while time.monotonic() < end if end is not None else seed < self._seed * 1_000_000 + usual:
            yield seed
            seed += 1


@pytest.fixture
def budget(request: pytest.FixtureRequest) -> Budget:
    """Of this run."""
    option = request.config.getoption
    return Budget(option("--hostile-seed"), option("--hostile-seconds"))


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[Plane]:
    """A control plane of its own, with a client of each role."""
    with plane_in(tmp_path) as running:
        yield running
