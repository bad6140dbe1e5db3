"""Owns the bus over Apache Kafka: the same promises as the embedded one, for many processes.

Reading and writing happen in threads; here they meet. While no broker answers, everything waits
and goes on by itself; `failing` says what is wrong.
"""

from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Final

import structlog
import trio
import trio.lowlevel
from confluent_kafka import KafkaError, TopicPartition
from confluent_kafka.admin import AdminClient

from control.bus.kafka.client import Cluster, in_words, is_no_topic
from control.bus.kafka.consumer_groups import (
    ElectedMember,
    GroupMember,
    GroupSubscription,
    SharingMember,
    serving,
)
from control.bus.kafka.consumer_thread import insist
from control.bus.kafka.diagnostics import Examination
from control.bus.kafka.group_commit import KafkaUnitOfWork, Transactions
from control.bus.kafka.producer import TransactionalProducer, outgoing
from control.bus.kafka.startup_check import StartupCheck
from control.bus.kafka.tails import Tail, TailedTopic
from control.bus.kafka.topics import Topics, layouts
from control.model import limits
from control.model.api.views import CheckView
from control.model.bus.records import Delivery, Receipts, Record
from control.model.bus.reports import DeadLetter, RecordsLost
from control.model.errors import PartitionsLost
from control.model.names import Group, Topic

LOG = structlog.get_logger("bus")
OUTBOX: Final = "outbox"
_NO_GROUP: Final = "publish"  # The producer of what is published with no receipts.
# Which reader of a topic sets garbage aside; of topics that are only tailed, the state's owner.
_KEEPERS: Final = {
    Topic.TASK_RUNS: Group.BALANCER,
    Topic.TASK_COMMANDS: Group.BALANCER,
    Topic.TASK_RUNS_LOAD_BALANCED: Group.DISPATCHER,
    Topic.TASK_RUN_EVENTS: Group.TRIGGER,
    Topic.TASK_RUN_RESULTS: Group.TRIGGER,
}


class KafkaBus:
    """Topics of records in a Kafka cluster. `partitions`: lanes for jobs."""

    def __init__(self, cluster: Cluster, partitions: int, *, owns_state: bool) -> None:
        cluster.check()
        self.cluster = cluster
        self._failing: str | None = None
        self._layouts = layouts(partitions)
        self._topics = Topics(cluster, partitions)
        self._owns_state = owns_state
        self._members: dict[Group, GroupMember] = {}
        self._tails: dict[Topic, TailedTopic] = {}
        self._looked = trio.Event()  # It is known whether the cluster answers.
        self._doubted = trio.Event()  # A topic seems to be gone.
        self._reachable = trio.Event()
        self._token: trio.lowlevel.TrioToken | None = None
        self._nursery: trio.Nursery | None = None
        self._writing: trio.Nursery | None = None  # Set once the cluster was reached.
        self._troubled = trio.Event()
        self._transactions: dict[str, Transactions] = {}

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; raises `ConfigError` when the topics are not as they must be."""
        self._token = trio.lowlevel.current_trio_token()
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                task_status.started()
                check = partial(insist, StartupCheck(self.cluster, self._topics).run, self.trouble)
                await trio.to_thread.run_sync(check)
                self._heal()
                self._looked.set()
                self._reachable.set()
                # Each tail's "from now on" comes before what we publish.
                for tailed in list(self._tails.values()):
                    await tailed.feed.opened.wait()
                self._writing = nursery
                for transactions in self._transactions.values():
                    nursery.start_soon(transactions.run)
                self._say_made()
                nursery.start_soon(self._watch)
                nursery.start_soon(self._guard)
                nursery.start_soon(self._purge)
        finally:
            for transactions in self._transactions.values():  # Also those that never began.
                transactions.stop()

    @property
    def failing(self) -> str | None:
        """Why nothing goes through, in words; None: it does."""
        late_s = max((each.under_way_s() for each in self._transactions.values()), default=0.0)
        if self._failing is None and late_s > 2 * limits.KAFKA_CALL_S:
            return f"{self.cluster.servers}: nothing could be committed for {late_s:.0f} s"
        return self._failing

    async def looked(self) -> None:
        """Wait until the cluster was checked, or is known not to answer now."""
        await self._looked.wait()

    async def publish(self, records: Sequence[Record]) -> None:
        """Put records on their topics, in one transaction."""
        await self.commit(KafkaUnitOfWork([outgoing(record) for record in records]))

    async def forward(self, acked: Sequence[Receipts], published: Sequence[Record]) -> None:
        """Acknowledge and publish in one transaction."""
        await self.commit(KafkaUnitOfWork([outgoing(record) for record in published], acked))

    async def commit(self, piece: KafkaUnitOfWork) -> None:
        """Carry a piece out; `Transactions.commit` says how."""
        await self._producer_of(piece).commit(piece)

    def hand_in(self, piece: KafkaUnitOfWork) -> None:
        """Have a piece carried out, and do not wait for it."""
        self._producer_of(piece).hand_in(piece)

    async def subscribe(self, topic: Topic, group: Group) -> GroupSubscription:
        """Join a group where it stands."""
        tasks = serving(self._nursery)
        member = self._members.get(group)
        if member is not None and topic in member.subscriptions:
            member.lose()  # Its service starts over.
        elif member is not None and member.lost:
            raise PartitionsLost  # Between two subscriptions of one service.
        if member is None or member.lost:
            kind = {Group.BALANCER: ElectedMember, Group.DISPATCHER: SharingMember}
            member = self._members[group] = kind.get(group, GroupMember)(group, self)
            await tasks.start(member.run)
            self._transactions_of(group)  # What it left unfinished when it died is ended now.
        return await member.join(topic)

    async def tail(self, topic: Topic) -> Tail:
        """Every record from now on."""
        tasks = serving(self._nursery)
        tailed = self._tails.get(topic)
        first: dict[int, int] = {}
        if tailed is None:
            tailed = self._tails[topic] = TailedTopic(topic, self, keeps=self._keeps(topic))
            tasks.start_soon(tailed.feed.run)
            if self._reachable.is_set():
                await tailed.feed.opened.wait()
        elif self._reachable.is_set():
            ends = partial(insist, tailed.ends, self.trouble)
            first = await trio.to_thread.run_sync(ends, limiter=trio.CapacityLimiter(1))
        return tailed.add(first)

    async def relayed(self, group: str, owner: str) -> int:
        """The number of the last row that an outbox has published here; 0: none yet.

        Raises `ConfigError` when it was the outbox of another database.
        """
        await self._reachable.wait()
        relayed_row = self._transactions_of(OUTBOX).producer.relayed_row
        found = await trio.to_thread.run_sync(
            partial(insist, partial(relayed_row, self.cluster.group(group)), self.trouble),
            limiter=trio.CapacityLimiter(1),
        )
        if found.note not in {"", owner}:
            raise self.cluster.of_another()
        return found.row

    def lags(self) -> dict[tuple[str, str], int]:
        """How many records groups of this process have not finished, by group and topic."""
        found: Counter[tuple[str, str]] = Counter()
        for group, member in self._members.items():
            for (topic, _), lane in member.lanes.items():
                found[group, topic] += 0 if member.lost else lane.unfinished
        return dict(found)

    async def examine(self) -> list[CheckView]:
        """What an operator should know: brokers, members, records that nobody could read."""
        if self.failing is not None:
            return [CheckView(check="bus", ok=False, detail=self.failing)]
        examination = Examination(self.cluster, self.partitions_of(Topic.TASK_RUNS_LOAD_BALANCED))
        return await trio.to_thread.run_sync(examination.run)

    # What the groups need.

    def partitions_of(self, topic: Topic) -> int:
        """How many partitions a topic has."""
        return self._layouts[topic].partitions

    async def settled(self, group: Group) -> None:
        """Wait until everything that a group's services handed in before is committed."""
        await self._transactions_of(group).commit(KafkaUnitOfWork())

    def set_aside(self, group: Group, garbage: Delivery) -> bool:
        """Move a foreign record to the dead letters, exactly once."""
        if _KEEPERS.get(garbage.topic) != group:
            return False
        receipts = Receipts(group, garbage.topic, garbage.partition, (garbage.offset,))
        self.bury(garbage, receipts)
        return True

    def bury(self, garbage: Delivery, *receipts: Receipts) -> None:
        """Publish a dead letter, and say so once."""
        assert isinstance(garbage.message, DeadLetter)
        LOG.warning(
            "bus.dead_letter",
            topic=garbage.message.topic,
            partition=garbage.partition,
            offset=garbage.offset,
            error=garbage.message.error,
        )
        record = outgoing(Record(Topic.TASK_DEAD_LETTERS, garbage.message))
        self.hand_in(KafkaUnitOfWork((record,), receipts))

    def records_lost(self, group: Group, topic: Topic, partition: int, below: int) -> None:
        """Tell the state's owner, in the transaction that keeps where the group goes on."""
        LOG.error(
            "bus.records_lost",
            topic=topic,
            group=group,
            partition=partition,
            below=below,
            next="what is open is published again",
        )
        self._tell_lost(
            RecordsLost(topic=topic, group=group, partition=partition, below=below),
            Receipts(group, topic, partition, ()),
        )

    def _tell_lost(self, message: RecordsLost, *receipts: Receipts) -> None:
        record = outgoing(Record(Topic.TASK_RUN_EVENTS, message))
        self.hand_in(KafkaUnitOfWork((record,), receipts))

    def _say_made(self) -> None:
        """Topics were missing: what was open in topics of their names before is lost."""
        made = self._topics.take_made()
        if made:
            LOG.info("bus.topics_made", topics=", ".join(made))
        for topic in made:
            group = _KEEPERS.get(topic)
            if group is not None:
                self._tell_lost(RecordsLost(topic=topic, group=group, partition=0, below=0))

    def _producer_of(self, piece: KafkaUnitOfWork) -> Transactions:
        if piece.relayed is not None:
            return self._transactions_of(OUTBOX)
        groups = {receipts.group for receipts in piece.receipts}
        assert len(groups) <= 1, groups  # One group's progress is one producer's.
        if not groups and Group.DISPATCHER in self._members:
            return self._transactions_of(
                Group.DISPATCHER
            )  # What a dispatcher says stays in its order.
        return self._transactions_of(groups.pop() if groups else _NO_GROUP)

    def _transactions_of(self, name: str) -> Transactions:
        found = self._transactions.get(name)
        if found is None:
            found = Transactions(
                TransactionalProducer(
                    name, self.cluster, self.partitions_of, self._members, self.trouble
                )
            )
            self._transactions[name] = found
            if self._writing is not None:
                serving(self._writing).start_soon(found.run)
        return found

    def trouble(self, error: KafkaError) -> None:
        """A call or a connection failed; from any thread. It is tried again until it works."""
        assert self._token is not None
        self._token.run_sync_soon(self._say, in_words(error))
        if is_no_topic(error):
            self.doubt()

    def doubt(self) -> None:
        """A topic seems to be gone; from any thread. That is looked into."""
        assert self._token is not None
        self._token.run_sync_soon(self._doubt)

    def _doubt(self) -> None:
        self._doubted.set()

    def _say(self, text: str) -> None:
        if self._failing is None:
            LOG.warning(
                "bus.unreachable",
                brokers=self.cluster.servers,
                error=text,
                next=f"trying again, at least every {limits.KAFKA_RETRY_MAX_S:g} s",
            )
        self._failing = f"{self.cluster.servers}: {text}; trying again"
        self._troubled.set()
        self._looked.set()

    def _heal(self) -> None:
        if self._failing is not None:
            LOG.info("bus.reachable", brokers=self.cluster.servers)
        self._failing = None

    def _keeps(self, topic: Topic) -> bool:
        return self._owns_state and topic in {Topic.TASK_NEWS, Topic.TASK_RUN_LOGS}

    async def _guard(self) -> None:
        """When a topic seems to be gone, look; make it again, and restart its readers.

        Groups and tails of a topic that was deleted know places in it that are others now.
        """
        admin, thread = AdminClient(self.cluster.admin()), trio.CapacityLimiter(1)
        replaced = partial(self._replaced, admin)
        while True:
            await self._doubted.wait()
            self._doubted = trio.Event()
            changed = await trio.to_thread.run_sync(replaced, limiter=thread)
            for topic in changed:
                LOG.error("bus.topic_deleted", topic=topic, next="it was made again")
                for member in list(self._members.values()):
                    if any(topic == known for known, _ in member.lanes):
                        member.lose()
                if topic in self._tails:
                    self._tails[topic].restart()
            self._say_made()
            await trio.sleep(limits.KAFKA_GUARD_S)  # The same error comes from many sides.

    def _replaced(self, admin: AdminClient) -> list[Topic]:
        if insist(partial(self._topics.are_the_same, admin), self.trouble):
            return []
        insist(partial(self._topics.ensure, admin), self._missing)
        return insist(partial(self._topics.changed, admin), self.trouble)

    def _missing(self, error: KafkaError) -> None:
        """Of what is being made again it is known that it is missing."""
        assert self._token is not None
        self._token.run_sync_soon(self._say, in_words(error))

    async def _watch(self) -> None:
        """After trouble, look until the cluster answers again."""
        while True:
            await self._troubled.wait()
            await trio.to_thread.run_sync(self._ask, limiter=trio.CapacityLimiter(1))
            for transactions in list(self._transactions.values()):
                await transactions.calm()  # A broker that answers may still not take anything.
            self._troubled = trio.Event()
            self._heal()

    def _ask(self) -> None:
        admin = AdminClient(self.cluster.admin())
        insist(partial(admin.list_topics, timeout=limits.KAFKA_CALL_S), self.trouble)

    async def _purge(self) -> None:
        """Delete the jobs that are done with: these topics keep records for ever.

        And commit all progress again: Kafka forgets what nobody has committed for days.
        """
        while True:
            await trio.sleep(limits.PURGE_EVERY_S)
            below = []
            for member in self._members.values():
                for (topic, partition), lane in member.lanes.items():
                    if not member.lost:
                        self.hand_in(
                            KafkaUnitOfWork(
                                receipts=(Receipts(member.group, topic, partition, ()),)
                            )
                        )
                        if self._layouts[topic].retention_ms < 0:
                            name = self.cluster.topic(topic)
                            below.append(TopicPartition(name, partition, lane.stored))
            if below:
                await trio.to_thread.run_sync(self._delete, below)

    def _delete(self, below: list[TopicPartition]) -> None:
        admin = AdminClient(self.cluster.admin())
        for future in admin.delete_records(below, request_timeout=limits.KAFKA_CALL_S).values():
            error = future.exception()
            if error is not None:
                LOG.warning("bus.not_purged", error=str(error))
