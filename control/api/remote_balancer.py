"""Owns what the API knows of a balancer that runs elsewhere: what it tells, what it answers."""

from collections.abc import Sequence
from typing import Final

import msgspec
import structlog
import trio

from control.bus.interface import Bus
from control.bus.tailing import Followed, follow
from control.core.balancer.estimates import Estimates
from control.model import limits
from control.model.api.balancer import LoadOfPartition, Rules, Waits
from control.model.api.queues import Queues
from control.model.bus.messages import (
    Announce,
    AskQueues,
    AskWhy,
    Finished,
    Learned,
    Loads,
    Message,
    ToldQueues,
    ToldWhy,
)
from control.model.bus.records import Record
from control.model.errors import BalancerSilent, Unavailable
from control.model.names import Service, Topic
from control.model.numbers import JobId
from control.model.states import Outcome

LOG = structlog.get_logger("api")
SILENT: Final = "no balancer has answered"


class _Question:
    """What one or more have asked the balancer."""

    def __init__(self) -> None:
        self.askers = 0
        self.answered = trio.Event()
        self.answer: ToldWhy | ToldQueues | None = None


class BalancerElsewhere:
    """The port `Balancing` over the bus."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._told: Loads | None = None
        self._estimates = Estimates()
        self._questions: dict[AskWhy | AskQueues, _Question] = {}
        self._askers = 0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        async with trio.open_nursery() as nursery:
            for topic in (Topic.TASK_NEWS, Topic.TASK_RUN_RESULTS):
                nursery.start_soon(
                    self._read, await follow(self._bus, topic, "balancer", self._announce)
                )
            await self._announce()
            task_status.started()

    def partitions(self) -> Sequence[LoadOfPartition]:
        """Every partition's load, as the balancer told it last."""
        return () if self._told is None else self._told.loads

    def rules(self) -> Rules | None:
        """What the balancer goes by, as it told it last."""
        return None if self._told is None else self._told.rules

    def expected(self, pipeline: str, name: str) -> float | None:
        """Seconds a job of this name should take; None: none has ended yet."""
        key = (pipeline, name)
        return self._estimates.expected(key) if self._estimates.is_known(key) else None

    async def waits(self, job_id: JobId) -> Waits | None:
        """Why a job waits; None: not at the balancer.

        Raises `BalancerSilent`, after a second at most.
        """
        told = await self._ask(AskWhy(job_id=job_id))
        assert isinstance(told, ToldWhy)
        return told.waits

    async def queues(self, limit: int, client: str | None) -> Queues:
        """What waits at the balancer; raises `BalancerSilent`, after a second at most."""
        told = await self._ask(AskQueues(limit=limit, client=client))
        assert isinstance(told, ToldQueues)
        return told.queues

    async def _ask(self, asked: AskWhy | AskQueues) -> ToldWhy | ToldQueues:
        if self._askers >= limits.ASKED_MAX:
            await trio.lowlevel.checkpoint()
            raise BalancerSilent(SILENT)
        question = self._questions.setdefault(asked, _Question())
        question.askers += 1
        self._askers += 1
        try:
            with trio.move_on_after(limits.ANSWER_S):
                if question.askers == 1:
                    await self._bus.publish([Record(Topic.TASK_NEWS, asked)])
                await question.answered.wait()
        except Unavailable as error:
            LOG.warning("balancer.silent", reason=str(error))
        finally:
            question.askers -= 1
            self._askers -= 1
            if not question.askers and self._questions.get(asked) is question:
                del self._questions[asked]
        if question.answer is None:
            raise BalancerSilent(SILENT)
        return question.answer

    def _answered(self, asked: AskWhy | AskQueues, answer: ToldWhy | ToldQueues) -> None:
        question = self._questions.pop(asked, None)
        if question is not None:
            question.answer = answer
            question.answered.set()

    def _with_changes(self, told: Loads) -> Loads:
        """The same with the changes told last, where it says that there are no others."""
        if told.rules.changes is not None:
            return told
        changes = () if self._told is None else self._told.rules.changes
        rules = msgspec.structs.replace(told.rules, changes=changes)
        return Loads(loads=told.loads, rules=rules)

    async def _announce(self) -> None:
        await self._bus.publish([Record(Topic.TASK_COMMANDS, Announce(by=Service.API))])

    async def _read(self, topic: Followed) -> None:
        while True:
            for message in await topic.receive():
                self._take(message)

    def _take(self, message: Message) -> None:
        match message:
            case Loads():
                self._told = self._with_changes(message)
            case ToldWhy():
                self._answered(AskWhy(job_id=message.job_id), message)
            case ToldQueues(limit=limit, client=client):
                self._answered(AskQueues(limit=limit, client=client), message)
            case Learned():
                for pipeline, name, durations in message.durations:
                    self._estimates.recall((pipeline, name), durations)
            case Finished() if message.outcome == Outcome.DONE:
                key = (message.pipeline, message.name)
                self._estimates.learn(key, message.duration_seconds)
            case _:
                pass  # News of workers, and what was asked.
