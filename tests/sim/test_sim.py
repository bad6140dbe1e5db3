"""Decides that no order of faults loses a job or counts one twice.

`pytest tests/sim --seed=7` runs one seed again, as it was; `python -m tests.sim --seeds 5000` many.
"""

from pathlib import Path

import pytest

from tests.sim.simulation import simulate

pytestmark = pytest.mark.slow

SEEDS = range(10)
RESTORED_SEEDS = range(3)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    chosen = metafunc.config.getoption("--seed")
    for name, seeds in (("seed", SEEDS), ("restored_seed", RESTORED_SEEDS)):
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, seeds if chosen is None else [chosen])


def test_nothing_is_lost_and_nothing_counts_twice(tmp_path: Path, seed: int) -> None:
    simulate(tmp_path, seed)


def test_restores_lose_and_repeat_nothing_of_their_own_life(
    tmp_path: Path, restored_seed: int
) -> None:
    assert simulate(tmp_path, restored_seed, restores=True).restored


def test_a_seed_is_always_the_same_run(tmp_path: Path) -> None:
    worlds = []
    for at in range(2):
        directory = tmp_path / str(at)
        directory.mkdir()
        worlds.append(simulate(directory, 3, restores=True))
    assert worlds[0].history == worlds[1].history
    assert worlds[0].checks.log == worlds[1].checks.log
