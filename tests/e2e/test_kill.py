"""Decides that kill -9 of a worker and of the control plane loses nothing (bench/kill.py, once)."""

from pathlib import Path

import pytest

from bench.kill import one_round

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def test_two_rounds_of_kill_9_lose_nothing(tmp_path: Path) -> None:
    for _ in range(2):
        one_round(tmp_path, jobs=1_000, slots=16, seconds=0.05)
