"""Owns how a Kafka cluster is reached: addresses, names with a prefix, security, what errors mean.

The only settings of the client that an operator may not change are those that the bus's promises
rest on.
"""

import threading
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import msgspec
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from control.model import limits
from control.model.errors import ConfigError
from control.model.names import Group, Topic

Value = str | int | float | bool | Callable[[KafkaError], None]
Trouble = Callable[[KafkaError], None]

OURS: Final = frozenset(
    {
        "acks",
        "auto.offset.reset",
        "bootstrap.servers",
        "enable.auto.commit",
        "enable.auto.offset.store",
        "enable.idempotence",
        "group.id",
        "group.protocol",
        "isolation.level",
        "message.max.bytes",
        "partition.assignment.strategy",
        "partitioner",
        "transactional.id",
    }
)
# What a healthy cluster says for a moment, such as right after a topic was made.
_PASSING: Final = frozenset(
    {
        KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001 - The client's own name for it.
        KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
    }
)
# A topic is not there, or not as long as it was.
_NO_TOPIC: Final = frozenset(
    {
        KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001
        KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.UNKNOWN_TOPIC_ID,
        KafkaError.INCONSISTENT_TOPIC_ID,
    }
)
_FENCED: Final = frozenset(
    {
        KafkaError._FENCED,  # noqa: SLF001
        KafkaError.INVALID_PRODUCER_EPOCH,
        KafkaError.PRODUCER_FENCED,
    }
)
# No waiting mends these, and what an operator can do.
_OPERATORS: Final = MappingProxyType(
    {
        KafkaError.CLUSTER_AUTHORIZATION_FAILED: "allow it: docs/scaling.md, Security",
        KafkaError.GROUP_AUTHORIZATION_FAILED: "allow it: docs/scaling.md, Security",
        KafkaError.TOPIC_AUTHORIZATION_FAILED: "allow it: docs/scaling.md, Security",
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "allow it: docs/scaling.md, Security",
        KafkaError.SASL_AUTHENTICATION_FAILED: "check sasl.username and sasl.password",
        KafkaError._AUTHENTICATION: "check sasl.username and sasl.password",  # noqa: SLF001
        KafkaError.UNSUPPORTED_SASL_MECHANISM: "check sasl.mechanism",
        KafkaError._SSL: "check security.protocol and the ssl. settings",  # noqa: SLF001
        KafkaError.TOPIC_EXCEPTION: (
            "two names may not differ in . and _ only: give another --topic-prefix"
        ),
        KafkaError.POLICY_VIOLATION: "the cluster's policy for new topics forbids it",
        KafkaError.INVALID_CONFIG: "the cluster refuses a setting of a new topic",
        KafkaError.INVALID_SESSION_TIMEOUT: (
            "check session.timeout.ms, and the brokers' group.min.session.timeout.ms"
        ),
        KafkaError.INVALID_TRANSACTION_TIMEOUT: (
            "check transaction.timeout.ms, and the brokers' transaction.max.timeout.ms"
        ),
        KafkaError.UNSUPPORTED_VERSION: "the brokers are too old: Kafka 4 is needed",
    }
)
_LATE_S: Final = 1.0


class Cluster(msgspec.Struct, frozen=True, kw_only=True):
    """Where the bus is, and what it is called there.

    `member` names this process among all that use the cluster: the same after its restart, so
    that what it left unfinished is ended at once, and no other living process's. `instance` is
    another one after each restart. `properties` are the client's own settings, such as
    `security.protocol`.
    """

    servers: str
    member: str
    instance: str = ""
    prefix: str = ""
    properties: Mapping[str, str] = {}

    def __post_init__(self) -> None:
        for name in self.properties:
            if name in OURS:
                message = f"the Kafka setting {name} cannot be changed: the bus depends on it"
                raise ConfigError(message)

    def check(self) -> None:
        """Raise `ConfigError` for a setting that the client does not know or take."""
        try:
            AdminClient(self.admin())
        except KafkaException as failure:
            message = f"the Kafka settings cannot be used: {error_of(failure).str()}"
            raise ConfigError(message) from failure

    def topic(self, topic: Topic) -> str:
        """A topic's name in the cluster."""
        return f"{self.prefix}{topic}"

    def group(self, group: Group | str) -> str:
        """A consumer group's name in the cluster."""
        return f"{self.prefix}taskplane-{group}"

    def of_another(self) -> ConfigError:
        """What to say when the topics are another database's."""
        named = f"with the prefix {self.prefix}" if self.prefix else "there"
        message = (
            f"the topics on {self.servers} {named} belong to another data directory; "
            "give this one a --topic-prefix of its own"
        )
        return ConfigError(message)

    def admin(self) -> dict[str, str | int | float | bool]:
        """Settings of a client that looks after topics, and what all clients have in common."""
        return {
            "reconnect.backoff.max.ms": 1_000,
            **self.properties,
            "bootstrap.servers": self.servers,
            "client.id": f"taskplane-{self.member}",
            "log_level": 2,  # What matters comes as an error; the rest would flood the log.
        }

    def producer(self, name: str, trouble: Trouble) -> dict[str, Value]:
        """Settings of a producer: idempotent, in transactions, acknowledged by all replicas."""
        settings: dict[str, Value] = {
            "transactional.id": f"{self.prefix}taskplane-{self.member}-{name}",
            "transaction.timeout.ms": round(limits.TRANSACTION_S * 1000),
            "enable.idempotence": True,
            "acks": "all",
            "message.max.bytes": limits.RECORD_BYTES_MAX,
            "queue.buffering.max.messages": 1_000_000,
            "linger.ms": 0,  # A transaction is the batch.
            # Right after a commit the coordinator is busy for some milliseconds: with the default
            # of 100 ms, every transaction would take that long.
            "retry.backoff.ms": 2,
            "error_cb": trouble,
        }
        return settings | self.admin()

    def consumer(
        self, group: str, trouble: Trouble, *, unhurried: bool = False
    ) -> dict[str, Value]:
        """Settings of a consumer: committed records only, progress kept by us.

        An unhurried one lets records gather for a moment: each fetch costs the brokers.
        """
        settings: dict[str, Value] = {
            "session.timeout.ms": round(limits.SESSION_S * 1000),
            "heartbeat.interval.ms": round(limits.SESSION_S * 1000 / 4),
            # A broker that was killed may wait, once it is back, for members that are long gone: as
            # long as this, which is five minutes by default (seen with Kafka 4.4, of about fifteen
            # restarts one).
            "max.poll.interval.ms": round(limits.REBALANCE_S * 1000),
            "group.id": group,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",  # What is gone is not passed over in silence.
            "isolation.level": "read_committed",
            "partition.assignment.strategy": "cooperative-sticky",
            "fetch.message.max.bytes": limits.RECORD_BYTES_MAX,
            "fetch.error.backoff.ms": 50,
            "fetch.queue.backoff.ms": 50,
            "queued.max.messages.kbytes": 16_384,
            # A topic that is gone is said to be at once: all were there when the process started.
            "topic.metadata.propagation.max.ms": 1_000,
            "error_cb": trouble,
        }
        if unhurried:
            settings["fetch.min.bytes"] = limits.RECEIVE_BUFFER_BYTES
            settings["fetch.wait.max.ms"] = round(limits.UNHURRIED_S * 1000)
        return settings | self.admin()


def error_of(failure: KafkaException) -> KafkaError:
    """What an exception of the client says."""
    error: KafkaError = failure.args[0]
    return error


def in_words(error: KafkaError) -> str:
    """An error as an operator reads it."""
    return f"{error.str()} ({error.name()})"


def is_no_topic(error: KafkaError) -> bool:
    """Whether a topic seems to be gone, or to be another one."""
    return error.code() in _NO_TOPIC


def is_fenced(failure: KafkaException) -> bool:
    """Whether a producer of the same name took this one's place, or it was too slow."""
    return error_of(failure).code() in _FENCED


def to_be_mended(error: KafkaError, servers: str) -> ConfigError | None:
    """What to say of an error that no waiting mends; None: it may be over soon."""
    advice = _OPERATORS.get(error.code())
    return None if advice is None else ConfigError(f"{servers}: {in_words(error)}; {advice}")


def passes(error: KafkaError) -> bool:
    """Whether it most likely is over in a moment."""
    return error.code() in _PASSING


def abandonable(call: Callable[[float], object]) -> Callable[[float], None]:
    """A call that may never return: after its time and a second, it is left alone in its thread.

    Progress sent to a transaction is such a call, when its group's coordinator has restarted
    (librdkafka #5456, #5511). Whatever it worked with must not be used any more.
    """

    def bounded(timeout_s: float) -> None:
        failures: list[KafkaException] = []
        returned = threading.Event()

        def carry_out() -> None:
            try:
                call(timeout_s)
            except KafkaException as failure:
                failures.append(failure)
            returned.set()

        threading.Thread(target=carry_out, daemon=True).start()
        if not returned.wait(timeout_s + _LATE_S):
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))  # noqa: SLF001 - As above.
        if failures:
            raise failures[0]

    return bounded
