"""Owns how a simulated plane starts: what becomes of its data first, then its services."""

import random
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Final

import trio

from control.core.epochs import attempt_in, last_id_before
from control.model.bus.messages import Message
from control.model.bus.records import Receipts
from control.model.life import KnownAttempts, Life, Lost
from control.model.names import Group, Topic
from control.model.states import Missed
from control.process import data_epochs
from control.services.statistics import Restored, Statistics
from store import epoch
from store.database.writer import Tx
from tests.services.plane import Plane, inline
from tests.sim.checks import Checks
from tests.sim.data import DataDirectory
from tests.sim.pipelines import scheduled, triggered

MAX_RUNNING: Final = {"bob": 2}


async def begin(
    plane: Plane, nursery: trio.Nursery, life: Life, data: DataDirectory, checks: Checks
) -> None:
    """Start the services, as `StateHost` does."""
    if life.jobs_to_publish:
        number = partial(attempt_in, life.epoch)
        now_ms = plane.clock.wall_ms()
        await plane.writer.write(lambda tx: plane.ledger.restart_open(tx, number, now_ms=now_ms))
    lost, data.lost = data.lost, []
    if lost:
        await plane.bus.publish(lost)
    if data.facts is None:
        await _observe(plane, nursery, checks)
    else:
        await nursery.start(_statistics(plane, life, data).run)
    for service in (
        plane.trigger,
        plane.dispatcher,
        plane.balancer,
        plane.planner,
        plane.publisher,
        plane.clock_watch,
    ):
        await nursery.start(service.run)


async def furnish(plane: Plane, rng: random.Random, missed: Missed) -> None:
    """What the first plane gets: clients, and pipelines that start by themselves."""
    plane.client("ann")
    for client, most in MAX_RUNNING.items():
        plane.client(client, max_running=most)
    await plane.put(triggered())
    await plane.put(scheduled(rng, missed))


def _statistics(plane: Plane, life: Life, data: DataDirectory) -> Statistics:
    assert data.facts is not None

    def unread(tx: Tx, topic: Topic, group: Group) -> list[Message]:
        return [] if data.spread else plane.journal.unread(tx.conn, topic, group)

    async def find_lost(retries: Sequence[tuple[int, int]]) -> Lost:
        return await plane.writer.write(
            lambda tx: data_epochs.lost_since(
                tx.conn, life, partial(unread, tx), retries, from_start=not data.spread
            )
        )

    async def attempts(jobs: Collection[int]) -> Mapping[int, KnownAttempts]:
        return await plane.writer.write(lambda tx: epoch.attempts(tx.conn, jobs))

    restored = None
    if life.epoch > 1:
        restored = Restored(
            life.epoch, last_id_before(life.epoch), find_lost, attempts if data.spread else None
        )
    return Statistics(plane.bus, data.facts, inline, restored=restored)


async def _observe(plane: Plane, nursery: trio.Nursery, checks: Checks) -> None:
    """Read the results in place of the statistics."""
    topic, group = Topic.TASK_RUN_RESULTS, Group.STATISTICS
    results = await plane.bus.subscribe(topic, group)

    async def observe() -> None:
        while True:
            found = await results.receive()
            for delivery in found:
                checks.observed(delivery)
            offsets = [delivery.offset for delivery in found]
            await plane.bus.forward([Receipts(group, topic, 0, offsets)], [])

    nursery.start_soon(observe)
