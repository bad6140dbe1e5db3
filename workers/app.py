"""Composes one worker: gives its parts clock, chance, and each other, and decides when it ends."""

import os
import random
import signal
from contextlib import closing
from typing import Final

import structlog
import trio

from control.model import limits
from control.model.clock import system_clock
from control.model.errors import ConfigError
from control.model.kinds import KindRegistry, Launcher, version_key
from control.model.secrecy import keep_memory_private
from control.model.worker.isolation import Isolation
from control.model.worker.wire import Drain, Welcome
from workers.config import WorkerConfig, name_from_host
from workers.executor import Executor
from workers.gateway_connection import GatewayConnection, NotWelcome
from workers.isolation.hidden import HiddenPaths
from workers.isolation.launcher import choose_launcher
from workers.job_params import AnyKind
from workers.logs import LogBuffer
from workers.protocol import WorkerIdentity, WorkerProtocol
from workers.protocol_events import Assigned, ProtocolEvent, Stop
from workers.spool import Spool
from workers.state_directory import Home, open_home
from workers.wakeup import Doorbell

_log = structlog.get_logger()
_EXIT_ORPHANED: Final = 1


class Worker:
    """One worker process."""

    def __init__(
        self,
        config: WorkerConfig,
        kinds: dict[tuple[str, str], AnyKind],
        home: Home,
        launcher: Launcher,
        isolation: Isolation,
    ) -> None:
        self._config = config
        self._name = home.name
        self._bell = Doorbell()
        log_bell = Doorbell()
        self._spool = Spool(home.directory)
        self._killed = False
        self._was_ready = False
        clock = system_clock()  # How far off it is, the gateway measures at each connection.
        self._protocol = WorkerProtocol(
            WorkerIdentity(
                worker=home.name,
                host=config.host,
                slots=config.slots,
                labels=config.labels,
                kinds=_versions(kinds),
                isolation=isolation,
                instance=os.urandom(16).hex(),
            ),
            LogBuffer(log_bell),
            self._spool.results,
        )
        self._executor = Executor(
            slots=config.slots,
            kinds=kinds,
            protocol=self._protocol,
            bell=self._bell,
            directory=home.jobs,
            launcher=launcher,
            now_ms=clock.steady_ms,
        )
        self._link = GatewayConnection(
            urls=config.urls,
            client_id=config.client_id,
            client_secret=config.client_secret,
            protocol=self._protocol,
            spool=self._spool,
            bell=self._bell,
            log_bell=log_bell,
            deliver=self._deliver,
            pulse=self._executor.pulse,
            now_ms=clock.steady_ms,
            random=random.random,
        )

    async def run(self) -> bool:
        """Work until drained (True) or killed (False); raises NotWelcome."""
        refusals: list[NotWelcome] = []
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(self._executor.run)
                await nursery.start(self._watch_signals, nursery.cancel_scope)
                if self._config.parent is not None:
                    nursery.start_soon(_end_with, self._config.parent)
                await nursery.start(self._link.run)
                await self._link.idle.wait()
                with trio.move_on_after(limits.GRACE_S):
                    await self._link.closed.wait()
                nursery.cancel_scope.cancel()
        except* NotWelcome as group:
            refusals += [error for error in group.exceptions if isinstance(error, NotWelcome)]
        finally:
            self._spool.close()
        if refusals:
            raise refusals[0]
        unsent = len(self._spool.results)
        _log.info("worker.stopped", worker=self._name, results_stored=unsent, killed=self._killed)
        return not self._killed

    def _deliver(self, event: ProtocolEvent) -> None:
        match event:
            case Assigned():
                self._executor.wake()
            case Stop():
                self._executor.stop(event.lease, event.reason)
            case Drain():
                self._drain("the gateway ordered it")
            case Welcome():
                _log.info(
                    "worker back" if self._was_ready else "worker ready",
                    worker=self._name,
                    slots=self._config.slots,
                    gateway=self._link.url,
                )
                self._was_ready = True
            case _:
                pass  # The link has dealt with it.

    def _drain(self, why: str) -> None:
        _log.info("worker.draining", reason=why)
        self._protocol.drain()
        self._bell.ring()

    async def _watch_signals(
        self,
        scope: trio.CancelScope,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            task_status.started()
            async for number in signals:
                if self._protocol.draining:
                    break
                self._drain(signal.Signals(number).name)
        _log.warning("worker.killed")
        self._killed = True
        scope.cancel()


async def _end_with(parent: int) -> None:
    """End this process at once when that one, which has started it, is gone, however it ended.

    As after a kill, guards end what runs, and the next start finds the results. It must be at once:
    the control plane that takes over assigns the same jobs to other workers.
    """
    try:
        ended = os.pidfd_open(parent)
    except ProcessLookupError:
        ended = -1
    if ended >= 0 and os.getppid() == parent:
        await trio.lowlevel.wait_readable(ended)
    _log.error("worker.killed", reason="the control plane that started it is gone")
    os._exit(_EXIT_ORPHANED)


def run_worker(config: WorkerConfig, registry: KindRegistry) -> bool:
    """Run a worker to its end: True when it drained; raises ConfigError or NotWelcome."""
    keep_memory_private()
    kinds = chosen_kinds(config, registry)
    home = open_home(
        name=config.name,
        state_dir=config.state_dir,
        workers_dir=config.workers_dir,
        default_name=name_from_host(config.host),
        former_dir=config.former_workers_dir,
    )
    hidden = HiddenPaths([home.directory, *config.hidden])
    try:
        launcher, isolation = choose_launcher(config.isolation, hidden, home.mark)
        with closing(launcher):
            _say(isolation, launcher.closed_directories())
            return trio.run(Worker(config, kinds, home, launcher, isolation).run)
    finally:
        hidden.close()
        home.close()


def _say(isolation: Isolation, closed: list[str]) -> None:
    """Log what jobs can reach; `closed`: where they can neither list nor make anything."""
    log = _log.warning if isolation.warnings else _log.info
    log(
        "worker.isolation",
        isolated=list(isolation.isolated),
        open=list(isolation.open),
        warnings=list(isolation.warnings),
        closed=closed,
    )


def chosen_kinds(config: WorkerConfig, registry: KindRegistry) -> dict[tuple[str, str], AnyKind]:
    """Make one instance of every version of the kinds to execute; raises ConfigError."""
    for each in registry.broken:
        _log.warning("kind.missing", kind=each.name, distribution=each.distribution, why=each.why)
    installed = registry.of_workers()
    names = sorted({name for name, _ in installed})
    unknown = sorted(set(config.kinds) - set(names))
    if unknown:
        if why := registry.missing(unknown[0]):
            raise ConfigError(why)
        if registry.versions(unknown[0]):
            raise ConfigError(f"the control plane itself executes the kind {unknown[0]}")
        msg = f"no kind {unknown[0]!r} is installed here; there are: {', '.join(names)}"
        raise ConfigError(msg)
    made: dict[tuple[str, str], AnyKind] = {}
    for name, version in sorted(installed, key=lambda each: (each[0], version_key(each[1]))):
        if config.kinds and name not in config.kinds:
            continue
        try:
            kind = installed[name, version]()
            kind.configure(config.settings)
            made[name, version] = kind
        except Exception as error:  # A plugin's; the others do not depend on it.
            _log.exception("kind.missing", kind=name, version=version)
            if config.kinds:
                msg = f"the kind {name} {version} cannot be used: {error}"
                raise ConfigError(msg) from error
    return made


def _versions(kinds: dict[tuple[str, str], AnyKind]) -> dict[str, tuple[str, ...]]:
    versions: dict[str, tuple[str, ...]] = {}
    for name, version in kinds:
        versions[name] = (*versions.get(name, ()), version)
    return versions
