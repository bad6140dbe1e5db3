"""Decides what breaks in a seed, and when."""

import random
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import trio

from control.model import limits
from control.model.names import Topic
from store import settings
from tests.services.plane import Plane
from tests.sim.links import Network
from tests.sim.records import wrong_record
from tests.sim.workers import SimWorker

_HOUR_MS: Final = 3_600_000
_MONTH_MS: Final = 30 * 24 * _HOUR_MS
_STEPS_MS: Final = (0, 0, _HOUR_MS, -_HOUR_MS, _MONTH_MS, -_MONTH_MS)
_OF_WORKERS: Final = (
    "crash",
    "crash and disk",
    "crash and guards",
    "drop",
    "drop",
    "freeze",
    "pause",
    "drain",
)


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """Which faults there are in a seed, besides workers and planes that die and links that break.

    `spread`: a restore leaves the bus as it is.
    """

    restores: bool
    spread: bool
    clock: bool
    records: bool
    topics: bool

    @classmethod
    def of(cls, rng: random.Random, *, restores: bool | None) -> "Chosen":
        """A seed's. `restores` None: it is the seed's to say as well."""
        by_chance = rng.random() < 0.2
        return cls(
            restores=by_chance if restores is None else restores,
            spread=rng.random() < 0.5,
            clock=rng.random() < 0.3,
            records=rng.random() < 0.4,
            topics=rng.random() < 0.3,
        )


class WallClock:
    """The machine's: how far somebody has set it."""

    def __init__(self) -> None:
        self.stepped_ms = 0


async def break_workers(
    workers: Sequence[SimWorker], rng: random.Random, say: Callable[[str], None]
) -> None:
    """Workers crash, freeze, and lose their connections, until cancelled."""
    while True:
        await trio.sleep(rng.expovariate(0.7))
        worker, fault = rng.choice(workers), rng.choice(_OF_WORKERS)
        say(f"{worker.name}: {fault}")
        match fault:
            case "drop":
                worker.drop()
            case "drain":
                worker.drain()
            case "freeze":
                worker.freeze(rng.uniform(11, 20))
            case "pause":
                worker.freeze(rng.uniform(0.1, 5))
            case _:
                worker.crash(
                    with_disk=fault == "crash and disk", with_guards=fault == "crash and guards"
                )


async def break_plane(plane: Plane, rng: random.Random) -> None:
    """The plane dies inside a commit, and what follows it."""
    await trio.sleep(rng.expovariate(1 / 12))
    await clock_noticed(plane)
    plane.commits_left = rng.randint(0, 3)


async def set_clock(
    network: Network, clock: WallClock, rng: random.Random, stepped: Callable[[int], None]
) -> None:
    """Somebody sets the wall clock now and then; says after it how far it was set before."""
    while True:
        await trio.sleep(rng.expovariate(1 / 10))
        plane = await network.reach()
        await clock_noticed(plane)
        # A step that no plane has noticed before it dies is one that nobody could know of.
        if plane.commits_left is None and not plane.died.is_set():
            before_ms = clock.stepped_ms
            clock.stepped_ms = plane.stepped_ms = rng.choice(_STEPS_MS)
            stepped(before_ms)


async def clock_noticed(plane: Plane) -> None:
    """Wait until the plane has stored how far its clock was set."""
    while not plane.died.is_set():
        known_ms = settings.clock(plane.conn).ahead_ms
        if abs(plane.clock.ahead_ms() - known_ms) < limits.CLOCK_STEP_MIN_MS:
            break
        await trio.sleep(limits.CLOCK_WATCH_S / 2)


async def write_wrong_records(
    network: Network, rng: random.Random, say: Callable[[str], None]
) -> None:
    """Somebody else writes to the bus, until cancelled."""
    while True:
        await trio.sleep(rng.expovariate(0.3))
        plane = await network.reach()
        record = wrong_record(plane, rng)
        if record is not None and not plane.died.is_set():
            message = record.message
            say(f"a wrong record on {record.topic}: {message}")
            with trio.move_on_after(1):  # A plane that dies never answers.
                await plane.bus.publish([record])


def topic_to_lose(rng: random.Random) -> tuple[Topic, bool]:
    """Which topic loses its records, and whether the topic itself is gone."""
    topics = (
        Topic.TASK_RUNS,
        Topic.TASK_RUNS_LOAD_BALANCED,
        Topic.TASK_RUN_EVENTS,
        Topic.TASK_RUN_RESULTS,
        Topic.TASK_COMMANDS,
    )
    return rng.choice(topics), rng.random() < 0.5
