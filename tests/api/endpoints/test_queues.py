"""Holds what is shown of waiting jobs to what the balancer says, and to how often it is asked."""

from pathlib import Path
from typing import Any

import trio

from control.api.remote_balancer import SILENT
from control.core.balancer.policy import Policy
from control.model import limits
from control.model.states import Role
from control.services.balancer import BalancerService
from tests.api.serving import NOW_MS, PIPELINE, Serving, StillBalancing, serving


async def test_it_is_shown_in_groups_as_many_as_asked_for(server: Serving) -> None:
    async with server.as_client("viewer") as client:
        shown = (await client.get("/v1/queues?limit=2")).json()
        assert [group["job"] for group in shown["items"]] == ["one", "one"]
        assert shown["groups_more"] == limits.QUEUES_MAX - 2 + 1
        assert (shown["next_cursor"], shown["classes"][0]["class"]) == (None, "fast")
        shown = (await client.get("/v1/queues")).json()
        assert len(shown["items"]) == limits.QUEUES_DEFAULT
        for limit in ("0", "1001", "x"):
            assert (await client.get(f"/v1/queues?limit={limit}")).status_code == 422


async def test_the_balancer_is_asked_once_a_second_and_for_each_submitter(server: Serving) -> None:
    balancing = server.parts.balancing
    assert isinstance(balancing, StillBalancing)
    await server.add_client("other", Role.SUBMITTER)

    async def ask(who: str) -> None:
        async with server.as_client(who) as client:
            shown = (await client.get("/v1/queues")).json()
        seen = {group["client"] for group in shown["items"]}
        assert seen == ({who} if who in {"submitter", "other"} else {"ann"})

    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for who in ("viewer", "operator", "admin", "submitter", "other", "submitter"):
            nursery.start_soon(ask, who)
    if trio.current_time() - began < limits.QUEUES_EVERY_S:
        assert sorted(map(str, balancing.asked)) == ["None", "other", "submitter"]


async def test_a_balancer_elsewhere_tells_it_over_the_bus(tmp_path: Path) -> None:
    async with serving(tmp_path, elsewhere=True) as server, trio.open_nursery() as nursery:
        balancer = BalancerService(Policy(partitions=3), server.parts.bus, lambda: NOW_MS)
        await nursery.start(balancer.run)
        await server.add_client("other", Role.SUBMITTER)
        async with server.as_client("submitter") as client:
            await client.post("/v1/runs", json={"pipeline": PIPELINE})
            with trio.fail_after(10):
                shown: dict[str, Any] = {"items": []}
                while not shown["items"]:
                    shown = (await client.get("/v1/queues")).json()
        [group] = shown["items"]
        assert (group["client"], group["job"], group["jobs"]) == ("submitter", "one", 1)
        assert group["reason"] == "no worker is connected"
        async with server.as_client("other") as other:
            hidden = (await other.get("/v1/queues")).json()
        assert (hidden["items"], hidden["reasons"], hidden["groups_more"]) == ([], [], 0)
        assert [each["jobs"] for each in hidden["classes"]] == [0, 0]
        nursery.cancel_scope.cancel()


async def test_a_silent_balancer_is_waited_for_once(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, elsewhere=True) as server,
        server.as_client("viewer") as client,
    ):
        details: list[str] = []

        async def ask() -> None:
            refused = await client.get("/v1/queues")
            assert (refused.status_code, "retry-after" in refused.headers) == (503, True)
            details.append(refused.json()["detail"])

        with trio.fail_after(4 * limits.ANSWER_S):
            async with trio.open_nursery() as nursery:
                for _ in range(8):
                    nursery.start_soon(ask)
        assert details == [SILENT] * 8
