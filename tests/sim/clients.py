"""Owns who uses the simulated plane: clients that submit, and an operator."""

import random
from collections.abc import Callable
from typing import Final

import trio

from control.model.errors import Rejected, Unavailable
from store.database.writer import Tx
from tests.services.plane import Plane
from tests.sim.checks import Checks
from tests.sim.links import Network
from tests.sim.pipelines import any_pipeline

SUBMISSIONS: Final = 40


class Clients:
    """`submitted`: the runs that clients know of, of this life of the data."""

    def __init__(self, network: Network, checks: Checks, say: Callable[[str], None]) -> None:
        self.submitted: list[int] = []
        self.all_submitted = False
        self._network = network
        self._checks = checks
        self._say = say

    async def submit(self, rng: random.Random, within_s: float) -> None:
        """Submit pipelines all the time, and try again while there is no plane."""
        for number in range(SUBMISSIONS):
            await trio.sleep(rng.expovariate(SUBMISSIONS / within_s))
            client, count = rng.choice(("ann", "bob")), rng.choice((1, 1, 1, 4))
            definition = any_pipeline(rng, number)
            while True:
                plane = await self._network.reach()
                try:
                    found = await plane.submit(definition, client, count)
                except Unavailable:
                    await trio.sleep(0.5)
                    continue
                self._say(f"{client} submits {found}")
                self.submitted += found
                break
        self.all_submitted = True

    async def operate(self, rng: random.Random) -> None:
        """Cancel, retry, and reorder what there is, until cancelled."""
        while True:
            await trio.sleep(rng.expovariate(1.0))
            plane = await self._network.reach()
            work = self._order(plane, rng)
            if work is None:
                continue
            try:
                await plane.writer.write(work)
            except (Rejected, Unavailable):
                continue

    def _order(self, plane: Plane, rng: random.Random) -> Callable[[Tx], object] | None:
        known = plane.conn.execute("SELECT id, first_job_id, job_count FROM runs").fetchall()
        if not known:
            return None
        run_id, first, count = rng.choice(known)
        job_id, ledger, wall_ms = first + rng.randrange(count), plane.ledger, plane.clock.wall_ms()
        what = rng.choice(("cancel", "retry", "retry", "cancel job", "priority"))
        self._say(f"an operator: {what} run {run_id} job {job_id}")

        def order(tx: Tx) -> None:
            if what == "cancel":
                ledger.cancel_run(tx, run_id, "by order", now_ms=wall_ms)
            elif what == "cancel job":
                ledger.cancel_job(tx, job_id, "by order", now_ms=wall_ms)
            elif what == "priority":
                ledger.set_priority(tx, job_id, rng.randint(0, 20), now_ms=wall_ms)
            else:
                ledger.retry_run(tx, run_id, now_ms=wall_ms)
                self._checks.retried.add(run_id)

        return order
