"""Composes the control plane: gives its parts clock, chance, and each other; ends them in order.

Doors (what lets work in) close first, then the services finish what they hold, then the writer
commits what it was handed. Anything unexpected ends the process: leases and the log make that safe.
"""

import gc
import logging
import os
import random
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, suppress
from functools import partial
from typing import TypeVar

import structlog
import trio

from control.admission.door import connections_of, raise_descriptor_limit
from control.admission.fair_use import FairUse
from control.admission.loop_watch import LoopWatch
from control.api.server import Api, listen
from control.api.status import Status
from control.model import limits
from control.model.api.views import CheckView
from control.model.clock import system_clock
from control.model.config import Config
from control.model.errors import ConfigError, TaskplaneError
from control.model.log_text import escape_values
from control.model.names import Metric, Service
from control.model.secrecy import keep_memory_private
from control.process import data_directory, data_epochs
from control.process.bus_host import Hands
from control.process.bus_selection import first, wiring_of
from control.process.local_worker import LocalWorker, check_local_worker
from control.process.state_host import HostEnvironment, StateHost

LOG = structlog.get_logger("control")
T = TypeVar("T")
# A thread that takes the interpreter lock back from a busy event loop waits so long for it; the
# default of 5 ms would be paid for every statement of the writer.
_SWITCH_INTERVAL_S = 0.0001
# Most of what is made is a batch's and dies with it: looking for cycles each 700 objects, among
# 100,000 waiting jobs, would cost a tenth of the CPU.
_GC_YOUNG = 50_000
_INSTANCE_BYTES = 8
_STOPPING = "stopping  once jobs of the local worker and calls have ended; Ctrl-C again: at once\n"
_PRIVATE = 0o077  # Whatever is made here, by whichever library, is for its owner only.


def this_world() -> HostEnvironment:
    """Clock and chance as they are."""
    return HostEnvironment(clock=system_clock(), jitter=_jitter, random_bytes=os.urandom)


class ControlPlane:
    """All parts of one process, made but not started."""

    def __init__(self, config: Config, umask: int) -> None:
        world = this_world()
        member = data_directory.member(config.directory, os.urandom)
        self._fair = fair = FairUse(
            connections=connections_of(config.max_connections, raise_descriptor_limit()),
            allowed_hosts=(*config.allowed_hosts, config.listen_address.host),
        )
        self._config = config
        self._worker = LocalWorker(config, umask)
        self._wiring = wiring_of(config, member, os.urandom(_INSTANCE_BYTES).hex())
        self._state = StateHost(config, world, self._wiring, fair) if config.owns_state else None
        self._hands = Hands(config, world, self._wiring, member, state=self._state, fair=fair)
        self._api: Api | None = None
        if self._state is not None and Service.API in config.services:
            self._api = self._state.api(self._hands.balancer, self)
        self._status: Status | None = None
        if self._api is None:
            at = config.metrics_address
            self._status = Status(self, fair, host=at.host, port=at.port)
        self._api_ended = trio.Event()
        self._loop = LoopWatch()

    def parts(self) -> Mapping[str, str | None]:
        """Each part's problem in words; None: it is well."""
        late_s = self._loop.late_s()
        found: dict[str, str | None] = {"loop": _stuck("the process", late_s, limits.STUCK_LOOP_S)}
        if self._state is not None:
            found["store"] = self._state.writer.failing or _stuck(
                "a commit", self._state.writer.oldest_s(), limits.STUCK_WRITER_S
            )
            if Service.STATISTICS in self._config.services:
                found["statistics"] = self._state.statistics.failing or _stuck(
                    "a batch of facts", self._fair.lanes.facts.oldest_s(), limits.STUCK_STATISTICS_S
                )
            found["logs"] = self._state.logs.failing
        if self._config.workers:
            found["worker"] = self._worker.failing
        if self._wiring.spread:
            found["bus"] = self._wiring.failing and (
                f"{self._wiring.failing}; runs are accepted until QUEUE_SIZE is reached, and go on "
                "when it is back"
            )
        return found

    def counts(self) -> Mapping[Metric, float]:
        """What the parts have counted, for Prometheus."""
        leases, services = self._hands.dispatcher.leases, self._config.services
        found: dict[Metric, float] = {Metric.REFUSED: leases.refused}
        if Service.DISPATCHER in services:
            found[Metric.LEASES] = len(leases.holdings.held)
        if self._wiring.outbox_rows is not None:
            found[Metric.OUTBOX] = self._wiring.outbox_rows
        if self._api is None:
            found |= self._hands.states()
        if self._state is None:
            return found
        return found | {
            Metric.COMMITS: self._state.writer.commits,
            Metric.REFUSED: leases.refused + self._state.trigger.refused,
            Metric.TRIGGERS_REFUSED: self._state.trigger.triggers_refused,
        }

    def warnings(self) -> Sequence[str]:
        """What is not down, but an operator should know."""
        return self._state.clock_watch.warnings() if self._state is not None else ()

    def lags(self) -> Mapping[tuple[str, str], int]:
        """How many records groups of this process have not finished, by group and topic."""
        return self._wiring.lags()

    async def examine(self) -> Sequence[CheckView]:
        """What an operator should know of the data, the clock, and the bus."""
        own = []
        if self._state is not None:
            restored = data_epochs.restored_check(self._state.life)
            stored = await self._state.examiner.checks()
            own = [*stored, self._state.clock_watch.examine(), *([restored] if restored else [])]
        return [*own, *await self._wiring.examine()]

    async def run(self, stop: trio.Event) -> None:
        """Serve until `stop` is set, then end in order."""
        async with trio.open_nursery() as foundation:
            foundation.start_soon(self._loop.run)
            login = worker_login = None
            if self._state is not None:
                await foundation.start(self._state.writer.run)
                login = await self._state.begin()
                if self._config.workers:
                    worker_login = await self._state.begin_worker()
            await self._wiring.start(foundation, self._state.writer if self._state else None)
            async with trio.open_nursery() as services:
                if self._state is not None:
                    await self._state.start(services)
                await self._hands.start(services)
                async with trio.open_nursery() as doors:
                    gateway = await self._open(doors, login)
                    async with trio.open_nursery() as hands:  # Drained while it can still report.
                        if self._config.workers and gateway is not None:
                            hands.start_soon(self._worker.run, gateway, worker_login)
                        await stop.wait()
                        hands.cancel_scope.cancel()
                    if self._api is not None:
                        self._api.close()
                        with trio.move_on_after(limits.GRACE_S):
                            await self._api_ended.wait()
                    doors.cancel_scope.cancel()
                foundation.start_soon(_end, foundation.cancel_scope)
                services.cancel_scope.cancel()
            foundation.cancel_scope.cancel()

    async def _open(self, doors: trio.Nursery, login: tuple[str, str] | None) -> str | None:
        config = self._config
        url = gateway = None
        if Service.DISPATCHER in config.services:
            port = await self._hands.open(doors)
            gateway = f"ws://{_reachable(config.gateway_address.host)}:{port}"
        if self._api is not None:
            port = await doors.start(self._serve_api, self._api)
            url = f"http://{_reachable(config.listen_address.host)}:{port}"
        metrics = ""
        if self._status is not None:
            port = await doors.start(self._status.run)
            metrics = f"  metrics http://{_reachable(config.metrics_address.host)}:{port}"
        if login is not None:
            data_directory.write_credentials(
                config.directory, url=url, gateway=gateway, client_id=login[0], secret=login[1]
            )
        await self._wiring.looked()
        sys.stderr.write(f"ready  api {url or '-'}  gateway {gateway or '-'}{metrics}\n")
        sys.stderr.flush()
        return gateway

    async def _serve_api(self, api: Api, *, task_status: trio.TaskStatus[int]) -> None:
        await api.run(task_status=task_status)
        self._api_ended.set()


async def serve(config: Config, umask: int) -> None:
    """Run the control plane until SIGTERM or Ctrl-C; raises `ConfigError`, `StoreFailed`.

    `umask`: the local worker's, and so its jobs'.
    """
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    gc.set_threshold(_GC_YOUNG)
    async with AsyncExitStack() as stack:
        stack.enter_context(data_directory.locked(config.directory))
        _check_addresses(config)
        plane = ControlPlane(config, umask)
        stop = trio.Event()
        async with trio.open_nursery() as nursery:
            await nursery.start(_listen_to_signals, stop, nursery.cancel_scope)
            await plane.run(stop)
            nursery.cancel_scope.cancel()


def main(config: Config) -> int:
    """`tpctl up`: serve, with logs on stderr. Gives the exit code, or raises what ended it."""
    log_to_stderr(config.log_level)
    check_local_worker(config)
    keep_memory_private()
    umask = os.umask(_PRIVATE)
    run_alone(partial(serve, config, umask))
    return 0


def log_to_stderr(level: str) -> None:
    """Let all parts of this process say what matters from this level on."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            escape_values,
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty() and not os.environ.get("NO_COLOR"),
                # Not the pretty one, which shows the values of variables: some are secrets.
                exception_formatter=structlog.dev.plain_traceback,
            ),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def run_alone(work: Callable[[], Awaitable[T]]) -> T:
    """Run this process's one piece of work; of errors of ours only the first is raised."""
    try:
        return trio.run(work)
    except BaseExceptionGroup as group:
        if group.subgroup(KeyboardInterrupt):
            raise KeyboardInterrupt from group
        ours, others = group.split(TaskplaneError)
        if ours is None or others is not None:
            raise  # A defect: all of it is of interest.
        # What is wrong with the settings comes first: all else may follow from it.
        raise first(ours.subgroup(ConfigError) or ours) from group


def _check_addresses(config: Config) -> None:
    """Raise `ConfigError` for an address that cannot be had, before any data are made."""
    wanted = [(config.listen_address, "--listen")]
    if Service.API not in config.services:
        wanted = [(config.metrics_address, "--metrics")]
    if Service.DISPATCHER in config.services:
        wanted.append((config.gateway_address, "--gateway"))
    with ExitStack() as stack:
        for address, flag in wanted:
            stack.enter_context(listen(address.host, address.port, flag))


async def _end(foundation: trio.CancelScope) -> None:
    """Services finish what they hold; but not if that needs a broker that is not there."""
    await trio.sleep(limits.ACK_S)
    LOG.warning(
        "control.unfinished", reason="the bus cannot be reached; it goes on at the next start"
    )
    foundation.cancel()


async def _listen_to_signals(
    stop: trio.Event, now: trio.CancelScope, *, task_status: trio.TaskStatus[None]
) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async for _ in signals:
            if stop.is_set():
                now.cancel()
                continue
            stop.set()
            with suppress(OSError):  # Its reader may be gone.
                sys.stderr.write(_STOPPING)
                sys.stderr.flush()


def _stuck(what: str, waits_s: float, most_s: float) -> str | None:
    return f"{what} has been waiting for {waits_s:.1f} s" if waits_s > most_s else None


def _reachable(host: str) -> str:
    return "127.0.0.1" if host in {"0.0.0.0", ""} else f"[{host}]" if ":" in host else host


_jitter = partial(random.uniform, -0.1, 0.1)
