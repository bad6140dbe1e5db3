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
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from functools import partial
from importlib.metadata import version
from typing import TypeVar

import structlog
import trio

from control import bootstrap
from control.api.auth import Gate, stored_logins
from control.api.ports import Parts
from control.api.server import Api
from control.bus.embedded import EmbeddedBus
from control.bus.journal import Journal
from control.bus.peers import Arrival
from control.core.balance import Policy
from control.core.speed import partition_classes
from control.model import limits
from control.model.config import Config
from control.model.errors import (
    ConfigError,
    StoreFailed,
    TaskplaneError,
    Unauthenticated,
)
from control.model.kinds import installed_kinds
from control.model.names import FACTS_FILE, LOGS_FOLDER, STATE_FILE, Metric, Service
from control.model.states import Role
from control.services.balancer import BalancerService
from control.services.dispatcher import Dispatcher
from control.services.gateway import Gateway
from control.services.job_logs import JobLogs
from control.services.planner import Planner
from control.services.pruner import Pruner
from control.services.publisher import Publisher
from control.services.statistics import Statistics
from control.services.trigger import Trigger
from control.transactions.graphs import Graphs
from control.transactions.ledger import Ledger
from store.bus_log import SqliteLogRows
from store.facts import Facts
from store.log_files import LogFiles
from store.outlines import Outlines
from store.reader import Reader
from store.state import open_state
from store.views import Views
from store.writer import Writer

E = TypeVar("E", bound=BaseException)
LOG = structlog.get_logger("control")
# A thread that takes the interpreter lock back from a busy event loop waits so long for it; the
# default of 5 ms would be paid for every statement of the writer.
_SWITCH_INTERVAL_S = 0.0001
# Most of what is made is a batch's and dies with it: looking for cycles each 700 objects, among
# 100,000 waiting jobs, would cost a tenth of the CPU.
_GC_YOUNG = 50_000
_DISPATCHER = "local"


def now_ms() -> int:
    """The clock."""
    return time.time_ns() // 1_000_000


class ControlPlane:
    """All parts of one process, made but not started."""

    def __init__(self, config: Config) -> None:
        directory = config.directory
        offload = trio.to_thread.run_sync
        self.config = config
        self._api_ended = trio.Event()
        self._api_ended.set()
        self.journal = Journal(SqliteLogRows())
        self.writer = Writer(open_state(directory / STATE_FILE), offload, self.journal)
        self.bus = EmbeddedBus(self.journal, self.writer.insist)
        self.ledger = Ledger(Graphs(), config.queue_size)
        self.reader = Reader(directory / STATE_FILE, offload)
        self.facts = Facts(directory / FACTS_FILE)
        self.gate = Gate(stored_logins(self.reader), offload, os.urandom(32))
        self.balancer = BalancerService(_policy(config), self.bus, now_ms)
        send, receive = trio.open_memory_channel[Arrival](limits.ARRIVALS_MAX)
        classes = partition_classes(config.partitions, config.slow_share)
        self.dispatcher = Dispatcher(_DISPATCHER, self.bus, classes, receive, now_ms)
        address = config.gateway_address
        self.gateway = Gateway(address.host, address.port, self.role_of, send)
        self.trigger = Trigger(self.bus, self.writer, self.ledger, now_ms, _jitter)
        self.planner = Planner(self.writer, now_ms)
        self.publisher = Publisher(self.writer, self.ledger, now_ms)
        self.statistics = Statistics(self.bus, self.facts, offload)
        self.logs = JobLogs(self.bus, LogFiles(directory / LOGS_FOLDER), offload)
        self.pruner = Pruner(
            self.writer, config.keep_days, now_ms, self.logs.forget, self._forget_facts
        )
        listen = config.listen_address
        self.api = Api(
            Parts(
                reader=self.reader,
                writer=self.writer,
                ledger=self.ledger,
                views=Views(Outlines()),
                bus=self.bus,
                gate=self.gate,
                kinds=installed_kinds(),
                offload=offload,
                balancing=self.balancer,
                reports=self.facts,
                logs=self.logs,
                health=self,
                now_ms=now_ms,
                random_bytes=os.urandom,
            ),
            host=listen.host,
            port=listen.port,
            version=version("taskplane"),
        )

    async def role_of(self, client_id: str, secret: str) -> Role | None:
        """The role of whoever connects to the gateway; None: refused. Raises `Unavailable`."""
        try:
            return (await self.gate.verify(client_id, secret)).role
        except Unauthenticated:
            return None

    def parts(self) -> Mapping[str, str | None]:
        """Each part's problem in words; None: it is well."""
        found: dict[str, str | None] = {"store": self.writer.failing}
        if Service.STATISTICS in self.config.services:
            found["statistics"] = self.statistics.failing
        return found

    def counts(self) -> Mapping[Metric, float]:
        """What the parts have counted, for Prometheus."""
        return {
            Metric.COMMITS: self.writer.commits,
            Metric.REFUSED: self.trigger.refused + self.dispatcher.leases.refused,
        }

    async def run(self, stop: trio.Event) -> None:
        """Serve until `stop` is set, then end in order."""
        wanted = set(self.config.services)
        async with trio.open_nursery() as foundation:
            await foundation.start(self.writer.run)
            credentials = await self.writer.write(
                lambda tx: bootstrap.ensure_admin(
                    tx, self.config.directory, now_ms=now_ms(), random_bytes=os.urandom
                )
            )
            async with trio.open_nursery() as services:
                for service, part in (
                    (Service.STATISTICS, self.statistics),
                    (Service.API, self.logs),
                    (Service.TRIGGER, self.trigger),
                    (Service.DISPATCHER, self.dispatcher),
                    (Service.BALANCER, self.balancer),
                    (Service.TRIGGER, self.pruner),
                    (Service.SCHEDULER, self.planner),
                    (Service.SCHEDULER, self.publisher),
                ):
                    if service in wanted:
                        await services.start(part.run)
                async with trio.open_nursery() as doors:
                    gateway = await self._open(doors, wanted, credentials)
                    async with trio.open_nursery() as hands:  # Drained while it can still report.
                        if self.config.workers and gateway is not None:
                            hands.start_soon(self._local_worker, gateway)
                        await stop.wait()
                        LOG.info("control.stopping")
                        hands.cancel_scope.cancel()
                    self.api.close()
                    with trio.move_on_after(limits.GRACE_S):
                        await self._api_ended.wait()
                    doors.cancel_scope.cancel()
                services.cancel_scope.cancel()
            foundation.cancel_scope.cancel()

    async def _open(
        self, doors: trio.Nursery, wanted: set[Service], credentials: tuple[str, str]
    ) -> str | None:
        url = gateway = None
        if Service.DISPATCHER in wanted:
            try:
                port = await doors.start(self.gateway.run)
            except* OSError as group:
                raise _unusable(self.config.gateway, group) from group
            gateway = f"ws://{_reachable(self.config.gateway_address.host)}:{port}"
        if Service.API in wanted:
            port = await doors.start(self._serve_api)
            url = f"http://{_reachable(self.config.listen_address.host)}:{port}"
        client_id, secret = credentials
        bootstrap.write_credentials(
            self.config.directory, url=url, gateway=gateway, client_id=client_id, secret=secret
        )
        sys.stderr.write(f"ready  api {url or '-'}  gateway {gateway or '-'}\n")
        sys.stderr.flush()
        return gateway

    async def _serve_api(self, *, task_status: trio.TaskStatus[int]) -> None:
        self._api_ended = trio.Event()
        await self.api.run(task_status=task_status)
        self._api_ended.set()

    async def _forget_facts(self, before_ms: int) -> None:
        try:
            await trio.to_thread.run_sync(self.facts.prune, before_ms)
        except StoreFailed as error:
            LOG.warning("statistics.failing", error=str(error))

    async def _local_worker(self, gateway: str) -> None:
        """`--workers N`: a worker process of our own, drained when the doors close."""
        command = [sys.executable, "-m", "workers", "--url", gateway]
        command += ["--slots", str(self.config.workers), "--name", "local"]
        command += ["--data-dir", self.config.data_dir]
        # A Ctrl-C goes to all of a terminal's foreground; the worker is told by us, once.
        await trio.run_process(command, check=False, deliver_cancel=_drain, start_new_session=True)
        LOG.error("worker.ended", reason="the local worker ended by itself")


async def serve(config: Config) -> None:
    """Run the control plane until SIGTERM or Ctrl-C; raises `ConfigError`, `StoreFailed`."""
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    gc.set_threshold(_GC_YOUNG)
    async with AsyncExitStack() as stack:
        stack.enter_context(bootstrap.locked(config.directory))
        plane = ControlPlane(config)
        stop = trio.Event()
        async with trio.open_nursery() as nursery:
            await nursery.start(_listen_to_signals, stop, nursery.cancel_scope)
            await plane.run(stop)
            nursery.cancel_scope.cancel()


def main(config: Config) -> int:
    """`tpctl up`: serve, with logs on stderr. Gives the exit code, or raises what ended it."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty() and not os.environ.get("NO_COLOR"),
                # Not the pretty one, which shows the values of variables: some are secrets.
                exception_formatter=structlog.dev.plain_traceback,
            ),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[config.log_level.upper()]
        ),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    try:
        trio.run(serve, config)
    except BaseExceptionGroup as group:
        ours, others = group.split(TaskplaneError)
        if ours is None or others is not None:
            raise  # A defect: all of it is of interest.
        raise _first(ours) from group
    return 0


async def _listen_to_signals(
    stop: trio.Event, now: trio.CancelScope, *, task_status: trio.TaskStatus[None]
) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async for _ in signals:
            if stop.is_set():
                now.cancel()
            stop.set()


async def _drain(process: trio.Process) -> None:
    for patience_s in (limits.GRACE_S, limits.ACK_S):  # First it drains, then it stops its jobs.
        process.terminate()
        with trio.move_on_after(patience_s):
            await process.wait()
            return
    process.kill()


def _first(group: BaseExceptionGroup[E]) -> E:
    """The first error itself of a tree of groups."""
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner


def _unusable(address: str, group: BaseExceptionGroup[OSError]) -> ConfigError:
    reason = _first(group).strerror
    return ConfigError(
        f"cannot listen on {address}: {reason}; give --gateway another one (port 0: a free one)"
    )


def _policy(config: Config) -> Policy:
    auto = config.slow_threshold == "auto"
    return Policy(
        partitions=config.partitions,
        slow_share=config.slow_share,
        slow_threshold_s=None if auto else float(config.slow_threshold),
        lend=config.lend,
    )


def _reachable(host: str) -> str:
    return "127.0.0.1" if host in {"0.0.0.0", ""} else f"[{host}]" if ":" in host else host


_jitter = partial(random.uniform, -0.1, 0.1)
