"""Composes what only needs the bus: the balancer, the dispatcher, and the workers' gateway."""

import structlog
import trio

from control.admission.fair_use import FairUse
from control.api.auth.authentication import Gate
from control.core.balancer.policy import Policy
from control.core.fleet.partition_classes import partition_classes
from control.model import limits
from control.model.config import Config
from control.model.errors import ConfigError, Unauthenticated
from control.model.names import Metric, Service
from control.model.states import Role
from control.process.bus_selection import Wiring, first, kept
from control.process.state_host import HostEnvironment, StateHost
from control.services.balancer import BalancerService
from control.services.dispatcher import Dispatcher
from control.services.gateway import Gateway
from control.services.replicated_credentials import WorkerKeys
from control.worker_channel import Arrival

LOG = structlog.get_logger("control")


class Hands:
    """Balancer and dispatcher. `state`: None where the state is elsewhere."""

    def __init__(
        self,
        config: Config,
        world: HostEnvironment,
        wiring: Wiring,
        member: str,
        *,
        state: StateHost | None,
        fair: FairUse,
    ) -> None:
        self._config = config
        self._spread = wiring.spread
        bus = wiring.bus(None) if state is None or wiring.spread else state.bus
        self._keys: WorkerKeys | None = None
        if state is None:
            self._keys = WorkerKeys(bus, self._forget)
            self._gate = Gate(
                self._keys.login, fair.lanes.hashes, world.random_bytes(32), fair.tally
            )
        else:
            self._gate = state.gate
        self.balancer = BalancerService(
            _policy(config), bus, world.clock.wall_ms, world.random_bytes
        )
        send, receive = trio.open_memory_channel[Arrival](limits.ARRIVALS_MAX)
        classes = partition_classes(config.partitions, config.slow_share)
        self.dispatcher = Dispatcher(member, bus, classes, receive, world.clock)
        address = config.gateway_address
        self._gateway = Gateway(address.host, address.port, self._role_of, send, fair)

    def states(self) -> dict[Metric, float]:
        """What there is here now, for Prometheus."""
        found: dict[Metric, float] = {}
        if Service.DISPATCHER in self._config.services:
            links = self.dispatcher.leases.links.values()
            found[Metric.WORKERS] = len(links)
            found[Metric.SLOTS] = sum(link.info.slots for link in links)
        if Service.BALANCER in self._config.services:
            found[Metric.WAITING] = self.balancer.waiting
        return found

    async def start(self, nursery: trio.Nursery) -> None:
        """Start what this process shall have.

        Where others may take its place, each waits for its turn, and starts over when it was
        taken for dead.
        """
        wanted = set(self._config.services)
        for service, run in (
            (Service.DISPATCHER, self.dispatcher.run),
            (Service.BALANCER, self.balancer.run),
        ):
            if service not in wanted:
                continue
            if self._spread:
                nursery.start_soon(kept, service, run)
            else:
                await nursery.start(run)
        if self._keys is not None and Service.DISPATCHER in wanted:
            nursery.start_soon(self._keys.run)

    async def open(self, doors: trio.Nursery) -> int:
        """Let workers in; gives the port. Raises `ConfigError`."""
        try:
            port: int = await doors.start(self._gateway.run)
        except* OSError as group:
            message = (
                f"cannot listen on {self._config.gateway}: {first(group).strerror}; give --gateway "
                "another one (port 0: a free one)"
            )
            raise ConfigError(message) from group
        return port

    async def _role_of(self, client_id: str, secret: str, address: str) -> Role | None:
        """The role of whoever connects to the gateway; None: refused."""
        try:
            return (await self._gate.verify(client_id, secret, address)).role
        except Unauthenticated:
            return None

    def _forget(self) -> None:
        self._gate.forget()


def _policy(config: Config) -> Policy:
    auto = config.slow_threshold == "auto"
    return Policy(
        partitions=config.partitions,
        slow_share=config.slow_share,
        slow_threshold_s=None if auto else float(config.slow_threshold),
        lend=config.lend,
    )
