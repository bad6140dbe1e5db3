"""Decides that no client takes the queue from the others, neither by hand nor by triggers."""

import random
from pathlib import Path

import pytest

from control.model.states import Role
from tests.api.serving import serving
from tests.hostile.test_whose_triggers import definition, put

SEEDS = range(3)


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_full_queue_leaves_room_for_who_holds_little(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    async with serving(tmp_path, queue_size=10) as server:
        for name in ("ann", "bob", "eve"):
            await server.add_client(name, Role.SUBMITTER)
        await put(server, "admin", definition("free"))
        async with server.as_client("ann") as ann, server.as_client("bob") as bob:
            for _ in range(10):
                answer = await ann.post("/v1/runs", json={"pipeline": definition("a")})
                assert answer.status_code == 201
            for _ in range(chance.randint(1, 20)):
                answer = await ann.post("/v1/runs", json={"pipeline": definition("a")})
                assert answer.status_code == 429
                assert "QUEUE_SIZE" in answer.json()["detail"]
            answer = await bob.post("/v1/runs", json={"pipeline": definition("b")})
            assert answer.status_code == 201, answer.text
            answers = [
                (await bob.post("/v1/runs", json={"pipeline": definition("b")})).status_code
                for _ in range(20)
            ]
            assert answers[-1] == 429  # It may not use up what is left, either.
        async with server.as_client("eve") as eve:
            answer = await eve.post("/v1/runs", json={"pipeline": definition("e")})
            assert answer.status_code == 201, answer.text


async def test_what_is_triggered_counts_against_its_own_clients_bounds(tmp_path: Path) -> None:
    """Three pipelines that trigger each other, each by two triggers."""
    async with serving(tmp_path, queue_size=40) as server:
        await server.add_client("eve", Role.SUBMITTER, max_queued=5)
        await server.add_client("ann", Role.SUBMITTER)
        for name, other, third in (("a", "b", "c"), ("b", "c", "a"), ("c", "a", "b")):
            await put(server, "eve", definition(name, other, third))
        async with server.as_client("eve") as eve, server.as_client("ann") as ann:
            assert (await eve.post("/v1/pipelines/a/runs")).status_code == 201
            reasons = []
            for run_id in range(1, 30):
                answer = await eve.post(f"/v1/runs/{run_id}/cancel")
                if answer.status_code == 404:
                    break
                reasons.append(answer.json()["reason"])
                mine = (await eve.get("/v1/runs", params={"state": "READY"})).json()["items"]
                assert len(mine) <= 5
            assert any("max_queued" in reason for reason in reasons)
            assert (
                await ann.post("/v1/runs", json={"pipeline": definition("mine")})
            ).status_code == 201
