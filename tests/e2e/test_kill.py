"""Decides that kill -9 of a worker and of the control plane loses nothing (bench/kill.py, once)."""

from pathlib import Path

import pytest

from bench.kill import one_round

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def bus(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """The flags that choose it."""
    if request.param == "embedded":
        return ()
    address = request.getfixturevalue("broker").address
    return ("--bus", f"kafka://{address}", "--topic-prefix", request.getfixturevalue("prefix"))


def test_two_rounds_of_kill_9_lose_nothing(tmp_path: Path, bus: tuple[str, ...]) -> None:
    for _ in range(2):
        one_round(tmp_path, jobs=1_000, slots=16, seconds=0.05, flags=bus)
