"""Decides at the start whether a cluster takes this process: topics, limits of brokers, rights.

What an operator must mend is an error then, and not something that is tried again for ever.
"""

from typing import Final

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, ConfigResource

from control.bus.kafka.client import Cluster, error_of, in_words, to_be_mended
from control.bus.kafka.member_claim import claim
from control.bus.kafka.topics import Topics
from control.model import limits
from control.model.errors import ConfigError

_SESSION: Final = "session.timeout.ms"
_LEAST: Final = "group.min.session.timeout.ms"
_MOST: Final = "group.max.session.timeout.ms"


class StartupCheck:
    """The look at a cluster that every start begins with."""

    def __init__(self, cluster: Cluster, topics: Topics) -> None:
        self._cluster = cluster
        self._topics = topics
        self._said: list[KafkaError] = []
        # One for all tries: an answer whose client is gone never comes.
        settings = cluster.admin() | {"error_cb": self._said.append}
        self._admin = AdminClient(settings)  # type: ignore[arg-type]  # Its stub has no callbacks.

    def run(self) -> None:
        """One try; blocks. Raises `ConfigError` for what must be mended, else `KafkaException`."""
        self._said.clear()
        try:
            self._topics.ensure(self._admin)
            self._topics.changed(self._admin)
            self._require_session()
            settings = self._cluster.producer("check", self._said.append)
            Producer(settings).init_transactions(limits.KAFKA_CALL_S)
            claim(self._cluster)
        except KafkaException as failure:
            self._admin.poll(0)  # What connections said, such as that a password is wrong.
            for error in (error_of(failure), *self._said):
                wrong = to_be_mended(error, self._cluster.servers)
                if wrong is not None:
                    raise wrong from failure
            raise

    def _require_session(self) -> None:
        """A member whose session the brokers do not allow would be refused for ever."""
        brokers = self._admin.list_topics(timeout=limits.KAFKA_CALL_S).brokers
        resource = ConfigResource(ConfigResource.Type.BROKER, str(next(iter(brokers))))
        described = self._admin.describe_configs([resource], request_timeout=limits.KAFKA_CALL_S)
        try:
            found = described[resource].result()
        except KafkaException as failure:
            if error_of(failure).code() == KafkaError.CLUSTER_AUTHORIZATION_FAILED:
                return  # It may not be asked for: then a member's first try tells.
            raise
        asked = round(float(self._cluster.properties.get(_SESSION, limits.SESSION_S * 1000)))
        least, most = int(found[_LEAST].value), int(found[_MOST].value)
        if not least <= asked <= most:
            refused = KafkaError(KafkaError.INVALID_SESSION_TIMEOUT)
            message = (
                f"{self._cluster.servers}: {in_words(refused)}: {_SESSION} is {asked}, and the "
                f"brokers allow {least} to {most}; set {_SESSION} in [kafka], or the brokers' "
                f"{_LEAST} and {_MOST}"
            )
            raise ConfigError(message)
