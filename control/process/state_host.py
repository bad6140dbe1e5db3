"""Composes what needs the state database: of a control plane, one process has this part."""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from importlib.metadata import version

import msgspec
import structlog
import trio

from control.admission.fair_use import FairUse
from control.api.auth.authentication import Gate, stored_logins
from control.api.ports import Parts, ProcessHealth
from control.api.remote_balancer import BalancerElsewhere
from control.api.server import Api
from control.core.epochs import attempt_in, last_id_before
from control.model.clock import Clock
from control.model.config import Config
from control.model.errors import StoreFailed
from control.model.kinds import KindRegistry, installed_kinds
from control.model.life import KnownAttempts, Lost
from control.model.names import FACTS_FILE, LOGS_FOLDER, STATE_FILE, Service
from control.process import data_directory, data_epochs
from control.process.bus_selection import Wiring, kept
from control.services.balancer import BalancerService
from control.services.clock_watch import ClockWatch
from control.services.examiner import Examiner
from control.services.job_logs import JobLogs
from control.services.notifier import Notifier
from control.services.planner import Planner
from control.services.pruner import Pruner
from control.services.publisher import Publisher
from control.services.statistics import Restored, Statistics
from control.services.trigger import Jitter, TriggerService
from control.transactions.graphs import Graphs
from control.transactions.run_transactions import Ledger
from store import epoch, settings
from store.database.reader import Reader
from store.database.state import open_state
from store.database.writer import Tx, Writer
from store.epoch import Witness
from store.facts.database import Facts
from store.log_files import LogFiles
from store.revision_cache import Outlines
from store.settings import Setting
from store.views import Views

LOG = structlog.get_logger("control")


def _kinds() -> KindRegistry:
    found = installed_kinds()
    for each in found.broken:
        LOG.warning("kind.missing", kind=each.name, distribution=each.distribution, why=each.why)
    return found


class HostEnvironment(msgspec.Struct, frozen=True):
    """Clock and chance."""

    clock: Clock
    jitter: Jitter
    random_bytes: Callable[[int], bytes]


class StateHost:
    """The state's owner: its writer, its services, and the API, made but not started."""

    def __init__(
        self,
        config: Config,
        world: HostEnvironment,
        wiring: Wiring,
        fair: FairUse,
    ) -> None:
        directory, lanes = config.directory, fair.lanes
        self._fair = fair
        self._config = config
        self._world = world
        conn = open_state(directory / STATE_FILE)
        data_directory.claim_bus(conn, config)
        data_directory.note_split(conn, config)
        self._wiring = wiring
        witness, files = Witness(directory), LogFiles(directory / LOGS_FOLDER)
        self.life = data_epochs.enter_life(
            conn,
            witness,
            files,
            now_ms=world.clock.wall_ms(),
            jobs_to_publish=wiring.spread,
            unread=partial(wiring.unread, conn),
        )
        self._data_id = settings.identity(conn, world.random_bytes, Setting.DATA)
        participant = wiring.participant(conn, world.random_bytes)
        self.writer = Writer(conn, lanes.writer, participant, witness.note)
        self.bus = wiring.bus(self.writer)
        clock, record = world.clock, settings.clock(conn)
        clock.resume(record.resumed_ms(clock.wall_ms()))
        self.clock_watch = ClockWatch(clock, self.writer, record)
        self._ledger = Ledger(Graphs(), config.queue_size, clock.steady_ms)
        self._reader = Reader(directory / STATE_FILE, lanes.readers)
        self.examiner = Examiner(directory / STATE_FILE, lanes.examinations)
        # Logins never wait behind pages.
        logins = stored_logins(Reader(directory / STATE_FILE, lanes.logins))
        self._facts = Facts(directory / FACTS_FILE)
        self.gate = Gate(logins, lanes.hashes, world.random_bytes(32), fair.tally)
        self.trigger = TriggerService(self.bus, self.writer, self._ledger, clock, world.jitter)
        self._planner = Planner(self.writer, clock.wall_ms)
        self._publisher = Publisher(self.writer, self._ledger, clock)
        restored = None
        if self.life.epoch > 1:
            last_id = last_id_before(self.life.epoch)
            attempts = self._attempts if wiring.spread else None
            restored = Restored(self.life.epoch, last_id, self._find_lost, attempts)
        self.statistics = Statistics(self.bus, self._facts, lanes.facts, lanes.reports, restored)
        self.logs = JobLogs(self.bus, files, lanes.logs, lanes.log_reading)
        self._notifier = Notifier(self.writer, self._ledger, self.logs, clock)
        self._pruner = Pruner(
            self.writer,
            config.keep_days,
            clock,
            lambda: self.clock_watch.settled,
            forget_logs=self.logs.forget,
            forget_facts=self._forget_facts,
        )
        # Where there may be several balancers, this process's own may be one that stands by.
        self._elsewhere = BalancerElsewhere(self.bus) if wiring.spread else None

    def api(self, balancer: BalancerService, health: ProcessHealth) -> Api:
        """The API. `balancer`: of this process."""
        listen, world = self._config.listen_address, self._world
        parts = Parts(
            reader=self._reader,
            writer=self.writer,
            ledger=self._ledger,
            views=Views(Outlines()),
            bus=self.bus,
            gate=self.gate,
            kinds=_kinds(),
            offload=self._fair.lanes.computing,
            fair=self._fair,
            balancing=self._elsewhere or balancer,
            reports=self._facts,
            logs=self.logs,
            health=health,
            clock=world.clock,
            random_bytes=world.random_bytes,
            life=f"{self._data_id}.{self.life.epoch}",
            note_rotated=partial(data_directory.note_rotated, self._config.directory),
        )
        return Api(parts, host=listen.host, port=listen.port, version=version("taskplane"))

    async def begin(self) -> tuple[str, str]:
        """Make sure that there is an admin; gives the id and secret for credentials.toml."""
        config, world = self._config, self._world
        if self.life.jobs_to_publish:
            number = partial(attempt_in, self.life.epoch)
            runs = await self.writer.write(
                lambda tx: self._ledger.restart_open(tx, number, now_ms=world.clock.wall_ms())
            )
            LOG.warning("data.published_again", runs=runs)
        return await self.writer.write(
            lambda tx: data_directory.ensure_admin(
                tx, config.directory, now_ms=world.clock.wall_ms(), random_bytes=world.random_bytes
            )
        )

    async def begin_worker(self) -> tuple[str, str]:
        """Make sure that the local worker has a client; gives its id and new secret."""
        world = self._world
        return await self.writer.write(
            lambda tx: data_directory.renew_local_worker(
                tx, now_ms=world.clock.wall_ms(), random_bytes=world.random_bytes
            )
        )

    async def _find_lost(self, retries: Sequence[tuple[int, int]]) -> Lost:
        """Which facts this state, which was restored, must not have."""

        def look(tx: Tx) -> Lost:
            unread = partial(self._wiring.unread, tx.conn)
            from_start = not self._wiring.spread
            return data_epochs.lost_since(
                tx.conn, self.life, unread, retries, from_start=from_start
            )

        return await self.writer.write(look)

    async def _attempts(self, jobs: Collection[int]) -> Mapping[int, KnownAttempts]:
        return await self.writer.write(lambda tx: epoch.attempts(tx.conn, jobs))

    async def start(self, nursery: trio.Nursery) -> None:
        """Start the services that this process shall have, readers first."""
        wanted = set(self._config.services)
        for service, run in (
            (Service.STATISTICS, self.statistics.run),
            (Service.API, self.logs.run),
            (Service.API, self.examiner.run),
            (Service.TRIGGER, self.trigger.run),
            (Service.TRIGGER, self._notifier.run),
            (Service.TRIGGER, self._pruner.run),
            (Service.SCHEDULER, self._planner.run),
            (Service.SCHEDULER, self._publisher.run),
        ):
            if service in wanted:
                await nursery.start(partial(kept, service, run))
        await nursery.start(self.clock_watch.run)
        if self._elsewhere is not None and Service.API in wanted:
            await nursery.start(self._elsewhere.run)

    async def _forget_facts(self, before_ms: int) -> None:
        try:
            await self._fair.lanes.facts(lambda: self._facts.prune(before_ms))
        except StoreFailed as error:
            LOG.warning("statistics.failing", error=str(error))
