"""Holds what the API shows of a balancer elsewhere to what that balancer says on the bus."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from control.api.remote_balancer import SILENT, BalancerElsewhere
from control.bus.interface import Subscription
from control.core.balancer.policy import Policy
from control.model import limits
from control.model.api.balancer import LoadOfPartition, Waits
from control.model.bus.messages import (
    Announce,
    AskWhy,
    ClientChanged,
    Learned,
    Loads,
    Message,
    ToldWhy,
)
from control.model.bus.records import Record
from control.model.errors import BalancerSilent
from control.model.names import Service, Topic
from control.model.numbers import JobId
from control.model.states import Role, Speed
from control.services.balancer import BalancerService
from tests.api.live.test_projection import FINISHED
from tests.api.serving import NOW_MS, PIPELINE, RULES, serving, waits_for
from tests.services.plane import Plane, opened

LOAD = LoadOfPartition(
    partition=0,
    speed=Speed.FAST,
    slots=2,
    running=1,
    depth=0,
    expected_s=1.5,
    oldest_ms=None,
    workers=("w",),
)


@asynccontextmanager
async def elsewhere(folder: Path) -> AsyncIterator[tuple[Plane, BalancerElsewhere, Subscription]]:
    async with opened(folder) as (plane, nursery):
        news = await plane.bus.tail(Topic.TASK_NEWS)
        balancing = BalancerElsewhere(plane.bus)
        await nursery.start(balancing.run)
        yield plane, balancing, news


async def say(plane: Plane, *messages: Message, topic: Topic = Topic.TASK_NEWS) -> None:
    await plane.bus.publish([Record(topic, message) for message in messages])
    await wait_all_tasks_blocked()


async def test_it_shows_what_the_balancer_told_last(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with elsewhere(tmp_path) as (plane, balancing, _):
        assert balancing.partitions() == ()
        assert balancing.expected("nightly", "one") is None
        assert balancing.rules() is None
        await say(plane, Loads(loads=(), rules=RULES), Loads(loads=(LOAD,), rules=RULES))
        assert balancing.partitions() == (LOAD,)
        assert balancing.rules() == RULES
        rarer = msgspec.structs.replace(RULES, waiting=38, changes=None)
        await say(plane, Loads(loads=(LOAD,), rules=rarer))
        assert balancing.rules() == msgspec.structs.replace(RULES, waiting=38)
        await say(plane, Learned(durations=(("nightly", "one", (3.0, 3.0)),)))
        earlier = balancing.expected("nightly", "one") or 0.0
        assert earlier == pytest.approx(3.0, rel=0.5)
        await say(plane, Learned(durations=(("nightly", "one", (90.0,)),)))
        assert balancing.expected("nightly", "one") == earlier
        await say(plane, FINISHED, topic=Topic.TASK_RUN_RESULTS)
        assert (balancing.expected("nightly", "one") or 0.0) < earlier


async def test_who_asks_for_one_job_shares_the_answer(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with elsewhere(tmp_path) as (plane, balancing, news):
        answers: list[tuple[int, Waits | None]] = []
        full = waits_for("no free slot")

        async def ask(job_id: int) -> None:
            answers.append((job_id, await balancing.waits(JobId(job_id))))

        async with trio.open_nursery() as nursery:
            for job_id in (1, 1, 2, 1):
                nursery.start_soon(ask, job_id)
            await wait_all_tasks_blocked()
            asked = [delivery.message for delivery in await news.receive()]
            await say(
                plane, ToldWhy(job_id=JobId(2), waits=None), ToldWhy(job_id=JobId(1), waits=full)
            )
        assert sorted(asked, key=repr) == [AskWhy(job_id=JobId(1)), AskWhy(job_id=JobId(2))]
        assert sorted(answers, key=repr) == [(1, full)] * 3 + [(2, None)]
        await say(plane, ToldWhy(job_id=JobId(1), waits=full))  # Nobody asked.


async def test_who_gets_no_answer_does_not_wait_for_long(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with elsewhere(tmp_path) as (_, balancing, _):
        began = trio.current_time()
        with pytest.raises(BalancerSilent, match=SILENT):
            await balancing.waits(JobId(1))
        assert trio.current_time() - began == pytest.approx(limits.ANSWER_S)
        async with trio.open_nursery() as nursery:
            for job_id in range(limits.ASKED_MAX):
                nursery.start_soon(balancing.waits, JobId(job_id))
            await wait_all_tasks_blocked()
            began = trio.current_time()
            with pytest.raises(BalancerSilent, match=SILENT):  # There are too many: at once.
                await balancing.waits(JobId(1))
            assert trio.current_time() == began
            nursery.cancel_scope.cancel()


async def test_explain_asks_the_balancer_over_the_bus(tmp_path: Path) -> None:
    async with serving(tmp_path, elsewhere=True) as server, trio.open_nursery() as nursery:
        balancer = BalancerService(Policy(partitions=3), server.parts.bus, lambda: NOW_MS)
        await nursery.start(balancer.run)
        async with server.as_client("submitter") as client:
            await client.post("/v1/runs", json={"pipeline": PIPELINE})
            with trio.fail_after(10):
                told: list[str] = []
                while "the balancer has not placed it: no worker is connected" not in told:
                    answer = (await client.get("/v1/jobs/1/explain")).json()
                    told = answer["steps"]
            assert answer["reason"] == "no worker is connected"
            assert answer["waits"]["class"] in {"slow", "fast"}
            assert (answer["waits"]["known"], answer["waits"]["ahead"]) == (False, 0)
            second = (await client.get("/v1/jobs/2/explain")).json()
            assert "no balancer" not in str(second)
        async with server.as_client("viewer") as client:
            with trio.fail_after(10):
                shown: list[object] = []
                while len(shown) != 3:
                    shown = (await client.get("/v1/partitions")).json()["items"]
            rules = {"waiting": 0}
            with trio.fail_after(10):
                while rules["waiting"] != 1:
                    rules = (await client.get("/v1/partitions/split")).json()
            assert (rules["slow"], rules["slow_auto"]) == (60.0, False)
        async with server.as_client("operator") as client:
            answer = (await client.put("/v1/partitions/split", json={"slow": 30})).json()
            assert answer == {"slow": 30}
            with trio.fail_after(10):
                while rules["slow"] != 30.0:
                    rules = (await client.get("/v1/partitions/split")).json()
        nursery.cancel_scope.cancel()


async def test_explain_says_when_no_balancer_answers(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, elsewhere=True) as server,
        server.as_client("submitter") as client,
    ):
        await client.post("/v1/runs", json={"pipeline": PIPELINE})
        answer = (await client.get("/v1/jobs/1/explain")).json()
        assert answer["reason"] == SILENT
        assert answer["waits"] is None
        async with server.as_client("viewer") as viewer:
            refused = await viewer.get("/v1/partitions/split")
        assert refused.status_code == 503
        assert refused.json()["detail"] == SILENT


async def test_every_change_of_a_client_is_told_with_what_it_may_do(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, server.as_client("admin") as admin:
        commands = await server.parts.bus.tail(Topic.TASK_COMMANDS)

        async def told() -> ClientChanged:
            with trio.fail_after(10):
                while True:
                    for delivery in await commands.receive():
                        if isinstance(delivery.message, ClientChanged):
                            return delivery.message

        await admin.post("/v1/clients", json={"client_id": "w", "role": "worker"})
        first = await told()
        assert (first.client, first.role) == ("w", Role.WORKER)
        assert first.secret_hash is not None
        await admin.post("/v1/clients/w/rotate")
        second = await told()
        assert second.secret_hash not in {None, first.secret_hash}
        for change in ({"enabled": False}, {"enabled": True, "role": "viewer"}):
            await admin.patch("/v1/clients/w", json=change)
            changed = await told()
            assert (changed.role, changed.secret_hash) == (None, None)
        await admin.patch("/v1/clients/w", json={"role": "admin"})
        assert (await told()).secret_hash == second.secret_hash
        assert (await admin.delete("/v1/clients/w")).status_code == 204
        gone = await told()
        assert (gone.client, gone.role, gone.secret_hash) == ("w", None, None)


async def test_an_api_that_starts_announces_itself(tmp_path: Path) -> None:
    async with opened(tmp_path) as (plane, nursery):
        commands = await plane.bus.tail(Topic.TASK_COMMANDS)
        await nursery.start(BalancerElsewhere(plane.bus).run)
        assert [d.message for d in await commands.receive()] == [Announce(by=Service.API)]
