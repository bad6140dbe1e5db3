"""Owns one simulated run: clients, operators, workers, faults, restarts, all from one seed."""

import random
from collections import deque
from pathlib import Path
from typing import Final

import trio

from control.core.epochs import last_id_before
from control.model.life import Life
from control.model.names import Topic
from control.model.states import Missed
from control.model.worker.wire import Lease
from store.epoch import last_run_id
from tests.services.plane import Plane, Surroundings, now_ms, opened
from tests.sim import faults
from tests.sim.checks import Checks
from tests.sim.clients import Clients
from tests.sim.data import Backup, DataDirectory, check_life
from tests.sim.ending import come_to_rest, pause_schedules
from tests.sim.fact_checks import check_facts
from tests.sim.faults import Chosen, WallClock
from tests.sim.links import Network
from tests.sim.planes import MAX_RUNNING, begin, furnish
from tests.sim.processes import Processes
from tests.sim.timetable import Timetable
from tests.sim.watch import TappedRows, watch
from tests.sim.workers import SimWorker

TROUBLE_S: Final = 60.0  # How long things break.
RESTORE_AT_S: Final = 40.0  # In a seed with restores, the first one at the latest.
SETTLE_S: Final = 15.0  # After a restart the balancer may not know yet what runs.
RESTORES_MAX: Final = 3


class World:
    """Everything of one seed. `restores`: whether data are restored; None: the seed decides."""

    def __init__(self, directory: Path, seed: int, *, restores: bool | None = None) -> None:
        self.rng = random.Random(seed)
        self.history: deque[str] = deque(maxlen=300)
        self.checks = Checks()
        self.restored = 0
        self._chosen = Chosen.of(self.rng, restores=restores)
        self._data = DataDirectory(
            directory, spread=self._chosen.spread, with_facts=self._chosen.restores
        )
        self._network = Network()
        self._clients = Clients(self._network, self.checks, self.say)
        self._clock = WallClock()
        self._timetable = Timetable()
        # Of a schedule: a clock that is set would miss a month of times.
        self._missed = Missed.LAST if self._chosen.clock else Missed.ALL
        self._processes = Processes(
            self.checks.ever_retried,
            one_each=not (self._chosen.topics or self._chosen.restores),
        )
        self._calm = trio.Event()
        self._over = trio.Event()
        self._opened_at = 0.0
        self._epoch = 1
        self._restoring: Backup | None = None  # It was put there; the next start finds it.
        self._results_lost = False
        self._uncounted: set[tuple[int, int]] = set()  # Ends that a restored state has, not facts.
        self._workers = [
            SimWorker(
                f"w{at}",
                self._network,
                self._processes,
                self._new_rng(),
                lambda: self._clock.stepped_ms,
            )
            for at in range(3)
        ]

    def _new_rng(self) -> random.Random:
        return random.Random(self.rng.random())

    def say(self, text: str) -> None:
        """Note what happened, for whoever has to understand a failure."""
        self.history.append(f"{trio.current_time():9.3f} {text}")

    def _wall_ms(self) -> int:
        return now_ms() + self._clock.stepped_ms

    async def run(self) -> None:
        """Trouble for a minute, then calm until everything has ended."""
        self.say(str(self._chosen))
        async with trio.open_nursery() as nursery:
            self._network.nursery = nursery
            for worker in self._workers:
                nursery.start_soon(worker.run)
            nursery.start_soon(self._clients.submit, self._new_rng(), TROUBLE_S)
            nursery.start_soon(self._trouble)
            nursery.start_soon(self._settle)
            first = True
            while not self._over.is_set():
                await self._live(first=first)
                first = False
                await trio.sleep(self.rng.uniform(0.05, 3.0))
                self._between_lives()
            nursery.cancel_scope.cancel()

    async def _trouble(self) -> None:
        """What goes on until it is calm."""
        async with trio.open_nursery() as nursery:
            start, chosen = nursery.start_soon, self._chosen
            start(self._clients.operate, self._new_rng())
            start(faults.break_workers, self._workers, self._new_rng(), self.say)
            if chosen.records:
                start(faults.write_wrong_records, self._network, self._new_rng(), self.say)
            if chosen.clock:
                start(
                    faults.set_clock, self._network, self._clock, self._new_rng(), self._clock_set
                )
            if chosen.restores:
                start(self._back_up_often, self._new_rng())
                start(self._restore_once, self._new_rng())
            await self._calm.wait()
            nursery.cancel_scope.cancel()

    # The plane.

    async def _live(self, *, first: bool) -> None:
        """One life of the control plane."""
        data, rows = self._data, TappedRows()
        life = data.enter(self._wall_ms())
        self._check_life(life)
        surroundings = Surroundings(
            rows=rows, witness=data.witness.note, chance=self._new_rng().randbytes
        )
        async with opened(
            data.path,
            jitter=lambda: self.rng.uniform(-0.1, 0.1),
            stepped_ms=self._clock.stepped_ms,
            surroundings=surroundings,
        ) as (plane, nursery):
            self.say("the plane starts")
            self._opened_at = trio.current_time()
            watch(plane.conn)
            plane.committed = lambda: self._committed(plane, rows)
            if first:
                await furnish(plane, self.rng, self._missed)
            await begin(plane, nursery, life, data, self.checks)
            self._network.up(plane)
            self._timetable.begin(self._wall_ms())
            if not self._calm.is_set():
                nursery.start_soon(self._break_plane, plane)
            async with trio.open_nursery() as waits:
                for event in (plane.died, self._over):
                    waits.start_soon(_then_cancel, event, waits.cancel_scope)
            self.say("the plane dies")
            self._timetable.end(self._wall_ms())
            self._network.down()
        data.leave()

    def _committed(self, plane: Plane, rows: TappedRows) -> None:
        for_s = trio.current_time() - self._opened_at
        self.checks.committed(plane, rows, timely=for_s > SETTLE_S)
        if for_s > SETTLE_S:
            self.checks.leases(plane, MAX_RUNNING)

    async def _break_plane(self, plane: Plane) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_then_cancel, self._calm, nursery.cancel_scope)
            await faults.break_plane(plane, self.rng)
            nursery.cancel_scope.cancel()

    def _clock_set(self, before_ms: int) -> None:
        self.say(f"somebody sets the wall clock: {self._clock.stepped_ms / 1000:+} s")
        self._timetable.end(now_ms() + before_ms)
        self._timetable.begin(self._wall_ms())

    # The data.

    async def _back_up_often(self, rng: random.Random) -> None:
        while True:
            await trio.sleep(rng.expovariate(1 / 8))
            await self._back_up(rng)

    async def _restore_once(self, rng: random.Random) -> None:
        """See to it that there is one restore at least."""
        await trio.sleep(RESTORE_AT_S)
        while not self.restored:
            await self._back_up(rng)
            await trio.sleep(rng.uniform(0, 3))
            plane = await self._network.reach()
            await faults.clock_noticed(plane)
            plane.commits_left = 0
            await plane.died.wait()
            await trio.sleep(0.1)

    async def _back_up(self, rng: random.Random) -> None:
        plane = await self._network.reach()
        await faults.clock_noticed(plane)
        if plane.died.is_set():
            return
        path, is_archive = self._data.back_up(rng, self._wall_ms())
        backup = Backup(
            path=path,
            is_archive=is_archive,
            log=self.checks.log.copy(),
            timetable=self._timetable.at(self._wall_ms()),
            submitted=[*self._clients.submitted],
            last_run_id=last_run_id(plane.conn),
            stepped_ms=self._clock.stepped_ms,
            commits=self.checks.commits,
        )
        self._data.backups.append(backup)
        self.say(f"a backup up to run {backup.last_run_id}")

    def _between_lives(self) -> None:
        """No plane is there: what others do to its data."""
        if self._calm.is_set():
            return
        # One that was made while the clock was set otherwise may be of what is the future now.
        fit = [
            each
            for each in self._data.backups
            if each.stepped_ms == self._clock.stepped_ms
            # A copy of what is there anyway takes nothing back.
            and (each.is_archive or each.commits < self.checks.commits)
        ]
        wanted = trio.current_time() > RESTORE_AT_S and not self.restored
        if fit and self.restored < RESTORES_MAX and (wanted or self.rng.random() < 0.7):
            self._restore(self.rng.choice(fit))
        elif self._chosen.topics and self.rng.random() < 0.5:
            topic, anew = faults.topic_to_lose(self.rng)
            self.say(f"{topic} loses its records{' and is made anew' if anew else ''}")
            self._data.lose(topic, anew=anew)
            self.checks.log.leases_lost |= topic == Topic.TASK_RUNS_LOAD_BALANCED
            if topic == Topic.TASK_RUN_RESULTS:
                self._results_lost = True
                self.checks.log.topics += anew

    def _restore(self, backup: Backup) -> None:
        self.say(f"the backup up to run {backup.last_run_id} is restored")
        self.restored += 1
        uncounted = self._data.restore(backup, self._wall_ms())
        if not self._chosen.spread:
            self.checks.log = backup.log.copy()
            self._data.lost = []
        else:  # Their ends are on the bus, which does not say them again.
            self._uncounted |= uncounted
        self._timetable = backup.timetable.at(0)
        self._clients.submitted = [*backup.submitted]
        self._restoring = backup

    def _check_life(self, life: Life) -> None:
        if self._restoring is not None:
            check_life(life, self._restoring, self._epoch)
            self._epoch = life.epoch
            self.checks.ids_after = last_id_before(life.epoch)
            self._restoring = None
        assert life.epoch == self._epoch, f"{life} begins by itself"

    # The end.

    async def _settle(self) -> None:
        await trio.sleep(TROUBLE_S)
        self._calm.set()
        self.say("calm")
        await pause_schedules(self._network)
        self._timetable.end(self._wall_ms())
        plane = await come_to_rest(self._network, self._clients, self._workers, self.say)
        marks: dict[str, Lease] = {}
        for worker in self._workers:
            marks |= worker.marks
        assert {run.id for run in plane.runs()} >= set(self._clients.submitted)
        self.checks.at_the_end(plane, marks)
        self._processes.at_the_end()
        self._timetable.check(plane, none_missed=self._missed is Missed.ALL)
        if self._data.facts is not None:
            check_facts(
                plane,
                self._data.facts,
                self.checks.log,
                all_counted=not self._results_lost,
                uncounted=self._uncounted if self._chosen.spread else None,
            )
        self._over.set()


async def _then_cancel(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()
