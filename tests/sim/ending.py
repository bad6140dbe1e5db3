"""Owns how a simulated run comes to its end, and what is said of one that does not."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import trio

from control.model import limits
from control.model.errors import Unavailable
from control.model.states import FINAL
from store import schedules
from store.database.writer import Tx
from tests.services.plane import Plane
from tests.sim.clients import Clients
from tests.sim.links import Network
from tests.sim.workers import SimWorker

PATIENCE_S: Final = 600  # Until everything must have ended.


async def come_to_rest(
    network: Network,
    clients: Clients,
    workers: Sequence[SimWorker],
    say: Callable[[str], None],
) -> Plane:
    """Wait until every run has ended and everybody knows; nothing breaks any more."""

    def is_done() -> bool:
        plane = network.plane
        if plane is None or not clients.all_submitted:
            return False
        return all(run.state in FINAL for run in plane.runs())

    await _until(is_done, network, workers, say)
    plane = await network.reach()
    await _until(lambda: not plane.unread(), network, workers, say)
    await _until(lambda: all(each.protocol.finished for each in workers), network, workers, say)
    await trio.sleep(2 * limits.RESTART_GRACE_S)
    return plane


async def pause_schedules(network: Network) -> None:
    """Let nothing start by itself any more."""
    while True:
        plane = await network.reach()
        now_ms = plane.clock.wall_ms()

        def pause(tx: Tx, now_ms: int = now_ms) -> None:
            for schedule in schedules.listing(tx.conn, after=0, limit=10):
                schedules.set_paused(tx.conn, schedule.id, paused=True, now_ms=now_ms)

        try:
            await plane.writer.write(pause)
        except Unavailable:
            await trio.sleep(0.5)
            continue
        break


async def _until(
    reached: Callable[[], bool],
    network: Network,
    workers: Sequence[SimWorker],
    say: Callable[[str], None],
) -> None:
    """Look once a second: what is waited for may never come, and has no event."""
    for _ in range(PATIENCE_S):
        if reached():
            return
        await trio.sleep(1.0)
    plane = await network.reach()
    for run in plane.runs():
        if run.state not in FINAL:
            say(f"run {run.id} is {run.state}: {run.reason}")
            for job in run.jobs:
                waits = await plane.balancer.waits(job.id)
                why = "the balancer does not have it" if waits is None else waits.why
                say(f"  job {job.id} is {job.state}: {job.reason}; {why}")
    for line in _left(plane, workers):
        say(line)
    message = "it has not come to an end"
    raise AssertionError(message)


def _left(plane: Plane, workers: Sequence[SimWorker]) -> Iterator[str]:
    for worker in workers:
        yield f"{worker.name}: {vars(worker.protocol)}"
    yield f"leases: {plane.dispatcher.leases.links}"
    sql = "SELECT topic, partition, first_offset, count FROM bus_log"
    yield f"unread: {plane.conn.execute(sql).fetchall()}"
