"""Decides that no order of faults loses a job or counts one twice.

`pytest tests/sim --seed=7` runs one seed again, as it was.
"""

from pathlib import Path

import pytest
import structlog
import trio
import trio._core._run as scheduler
from trio.testing import MockClock

from tests.sim.world import World

SEEDS = range(10)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    chosen = metafunc.config.getoption("--seed")
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", SEEDS if chosen is None else [chosen])


def simulate(directory: Path, seed: int) -> World:
    """One seed, from its first event to its last check."""
    # Which task runs first is the seed's to say, not chance's.
    vars(scheduler)["_ALLOW_DETERMINISTIC_SCHEDULING"] = True
    scheduler._r.seed(seed)  # noqa: SLF001
    worlds: list[World] = []

    async def main() -> None:
        worlds.append(World(directory, seed))
        await worlds[0].run()

    try:
        with structlog.testing.capture_logs():
            trio.run(main, clock=MockClock(autojump_threshold=0))
    except BaseException:
        for line in [line for world in worlds for line in world.history]:
            print(line)  # noqa: T201 - pytest shows it with the failure.
        print(f"again: pytest tests/sim --seed={seed}")  # noqa: T201
        raise
    return worlds[0]


def test_nothing_is_lost_and_nothing_counts_twice(tmp_path: Path, seed: int) -> None:
    simulate(tmp_path, seed)


def test_a_seed_is_always_the_same_run(tmp_path: Path) -> None:
    worlds = []
    for at in range(2):
        directory = tmp_path / str(at)
        directory.mkdir()
        worlds.append(simulate(directory, 3))
    assert worlds[0].history == worlds[1].history
    assert worlds[0].checks.results == worlds[1].checks.results
