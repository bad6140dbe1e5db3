"""Owns how a seed is simulated: deterministic scheduling, virtual time, what a failure says."""

import traceback
from pathlib import Path

import structlog
import trio
import trio._core._run as scheduler
from trio.testing import MockClock

from tests.sim.world import World


class Failed(AssertionError):
    """A seed that has found something: its last events, and what did not hold."""


def simulate(directory: Path, seed: int, *, restores: bool | None = None) -> World:
    """One seed, from its first event to its last check; raises `Failed`.

    `restores`: whether data are restored in it; None: that is the seed's to say.
    """
    # Which task runs first is the seed's to say, not chance's.
    vars(scheduler)["_ALLOW_DETERMINISTIC_SCHEDULING"] = True
    scheduler._r.seed(seed)  # noqa: SLF001
    worlds: list[World] = []
    data = directory / "data"
    data.mkdir()

    async def main() -> None:
        worlds.append(World(data, seed, restores=restores))
        await worlds[0].run()

    try:
        with structlog.testing.capture_logs():
            trio.run(main, clock=MockClock(autojump_threshold=0))
    except Exception as error:
        history = [line for world in worlds for line in world.history]
        again = f"again: pytest tests/sim --seed={seed}"
        found = "".join(traceback.format_exception(error))
        raise Failed("\n".join([*history, found, again])) from error
    return worlds[0]
