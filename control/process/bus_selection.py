"""Decides which bus a process is on, and how its parts get at it.

The services do not know. What differs is who takes part in the state's commits (the embedded
bus's log, or an outbox), and whether the balancer and the dispatchers are in this process.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol, TypeVar

import structlog
import trio

from control.bus.embedded.bus import EmbeddedBus
from control.bus.embedded.log import Journal
from control.bus.interface import Bus
from control.model import limits
from control.model.api.views import CheckView
from control.model.bus.messages import Message
from control.model.config import Config
from control.model.errors import BusUnavailable, ConfigError
from control.model.names import Group, Service, Topic
from store import settings
from store.bus_log import SqliteLogRows
from store.database.connection import Connection
from store.database.writer import Participant, Writer
from store.outbox import SqliteOutboxRows

E = TypeVar("E", bound=BaseException)
LOG = structlog.get_logger("control")


class Wiring(Protocol):
    """One process's way to the bus."""

    @property
    def spread(self) -> bool:
        """Whether other processes may be on the same bus."""

    @property
    def failing(self) -> str | None:
        """Why the bus cannot be reached, if so."""

    def participant(self, conn: Connection, random_bytes: Callable[[int], bytes]) -> Participant:
        """Who takes part in the commits of the state."""

    def unread(self, conn: Connection, topic: Topic, group: Group) -> list[Message]:
        """What the database itself has of a topic and a group has not finished; in a commit."""

    def bus(self, writer: Writer | None) -> Bus:
        """The bus; `writer`: of the state, where this process owns it."""

    async def start(self, nursery: trio.Nursery, writer: Writer | None) -> None:
        """Start what the bus itself needs."""

    def lags(self) -> Mapping[tuple[str, str], int]:
        """How many records groups of this process have not finished, by group and topic."""

    @property
    def outbox_rows(self) -> int | None:
        """Rows that are committed and not on the bus yet; None: there is no outbox."""

    async def looked(self) -> None:
        """Wait until the bus was checked, or is known not to answer now."""

    async def examine(self) -> Sequence[CheckView]:
        """What an operator should know of it."""


class Run(Protocol):
    """A service's `run`."""

    def __call__(self, *, task_status: trio.TaskStatus[None]) -> Awaitable[None]:
        """Serve until cancelled; `task_status` is told once it is there."""


async def kept(
    service: Service, run: Run, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve, and start over whenever the service was taken for dead."""
    while True:
        try:
            await run(task_status=task_status)
        except* BusUnavailable as group:
            LOG.warning("service.starts_over", service=service, reason=str(first(group)))
        task_status = trio.TASK_STATUS_IGNORED  # It was told.
        await trio.sleep(limits.START_OVER_S)


def first(group: BaseExceptionGroup[E]) -> E:
    """The first error itself of a tree of groups."""
    inner = group.exceptions[0]
    return first(inner) if isinstance(inner, BaseExceptionGroup) else inner


def wiring_of(config: Config, member: str, instance: str) -> Wiring:
    """The way to the bus of this config; raises `ConfigError`.

    `member`: this process's name, the same at each start; `instance`: another one each time.
    """
    if config.brokers is None:
        return _Embedded()
    require_client(config)
    return _Kafka(config, member, instance)


def require_client(config: Config) -> None:
    """Raise `ConfigError` where the client of Kafka is not installed."""
    try:
        import confluent_kafka  # noqa: F401, PLC0415 - An extra.
    except ImportError as error:
        message = (
            f"--bus {config.bus} needs the client of Kafka, an extra: "
            "pip install '.[kafka]' in a clone of Taskplane"
        )
        raise ConfigError(message) from error


class _Embedded:
    spread = False
    failing = None
    outbox_rows = None

    def __init__(self) -> None:
        self._journal = Journal(SqliteLogRows())

    def participant(self, _conn: Connection, _random_bytes: Callable[[int], bytes]) -> Participant:
        return self._journal

    def unread(self, conn: Connection, topic: Topic, group: Group) -> list[Message]:
        return self._journal.unread(conn, topic, group)

    def bus(self, writer: Writer | None) -> Bus:
        assert writer is not None
        return EmbeddedBus(self._journal, writer.insist)

    async def start(self, _nursery: trio.Nursery, _writer: Writer | None) -> None:
        await trio.lowlevel.checkpoint()

    def lags(self) -> Mapping[tuple[str, str], int]:
        return {}

    async def looked(self) -> None:
        await trio.lowlevel.checkpoint()

    async def examine(self) -> Sequence[CheckView]:
        await trio.lowlevel.checkpoint()
        return []


class _Kafka:
    spread = True

    def __init__(self, config: Config, member: str, instance: str) -> None:
        from control.bus.kafka.bus import KafkaBus  # noqa: PLC0415 - It needs the extra.
        from control.bus.kafka.client import Cluster  # noqa: PLC0415
        from control.bus.kafka.outbox_relay import Outbox, StateBus  # noqa: PLC0415

        cluster = Cluster(
            servers=config.brokers or "",
            member=member,
            instance=instance,
            prefix=config.topic_prefix,
            properties=config.kafka,
        )
        self._bus = KafkaBus(cluster, config.partitions, owns_state=config.owns_state)
        self._outbox: Outbox | None = None
        self._make_outbox = Outbox
        self._state_bus = StateBus

    @property
    def failing(self) -> str | None:
        return self._bus.failing

    def participant(self, conn: Connection, random_bytes: Callable[[int], bytes]) -> Participant:
        owner = settings.identity(conn, random_bytes)
        self._outbox = self._make_outbox(SqliteOutboxRows(), self._bus, owner)
        return self._outbox

    def unread(self, _conn: Connection, _topic: Topic, _group: Group) -> list[Message]:
        return []  # It is on the topics, whose offsets go on.

    def bus(self, writer: Writer | None) -> Bus:
        return self._bus if writer is None else self._state_bus(self._bus, writer.insist)

    async def start(self, nursery: trio.Nursery, writer: Writer | None) -> None:
        await nursery.start(self._bus.run)
        if self._outbox is not None and writer is not None:
            nursery.start_soon(self._outbox.run, writer.insist)

    def lags(self) -> Mapping[tuple[str, str], int]:
        return self._bus.lags()

    @property
    def outbox_rows(self) -> int | None:
        return None if self._outbox is None else self._outbox.rows

    async def looked(self) -> None:
        await self._bus.looked()

    async def examine(self) -> Sequence[CheckView]:
        return await self._bus.examine()
