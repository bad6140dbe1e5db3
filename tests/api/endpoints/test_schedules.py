"""Checks what is said when schedules are edited or paused: what waited, and will not start."""

from typing import Any

import pytest

from store import schedules
from tests.api.serving import NOW_MS, PIPELINE, Serving

DAILY = {"cron": "0 0 * * *", "overlap": "queue"}


async def stored(server: Serving, *specs: dict[str, Any]) -> dict[str, Any]:
    async with server.as_client("submitter") as client:
        definition = PIPELINE | {"name": "p", "schedules": list(specs)}
        answer = await client.put("/v1/pipelines/p", json=definition)
        assert answer.status_code in {200, 201}, answer.text
        found: dict[str, Any] = answer.json()
        return found


async def listed(server: Serving) -> list[dict[str, Any]]:
    async with server.as_client("submitter") as client:
        found: list[dict[str, Any]] = (await client.get("/v1/schedules")).json()["items"]
        return found


async def let_wait(server: Serving, schedule_id: int) -> None:
    """Two runs that waited, and one that is to come."""
    rows = [(at_ms, at_ms) for at_ms in (NOW_MS - 2, NOW_MS - 1, NOW_MS + 1)]
    await server.parts.writer.write(lambda tx: schedules.plan(tx.conn, schedule_id, rows))
    await server.parts.writer.write(
        lambda tx: schedules.let_wait(tx.conn, schedule_id, [NOW_MS - 2, NOW_MS - 1])
    )


@pytest.mark.parametrize("then", [[DAILY | {"enabled": False}], []])
async def test_an_edit_says_how_many_that_waited_will_not_start(
    server: Serving, then: list[dict[str, Any]]
) -> None:
    assert (await stored(server, DAILY))["warnings"] == []
    (made,) = await listed(server)
    await let_wait(server, made["id"])
    (warning,) = (await stored(server, *then))["warnings"]
    assert warning["path"] == "schedules"
    assert warning["message"].startswith("2 planned runs that waited will not start")


async def test_a_pause_says_how_many_that_waited_will_not_start(server: Serving) -> None:
    await stored(server, DAILY)
    (made,) = await listed(server)
    await let_wait(server, made["id"])
    async with server.as_client("submitter") as client:
        for dropped in (2, 0):
            answer = await client.post(f"/v1/schedules/{made['id']}/pause")
            assert answer.json()["dropped"] == dropped
            assert answer.json()["paused"]
            assert answer.json()["next_at"] is None


async def test_a_paused_schedule_that_is_edited_is_paused(server: Serving) -> None:
    await stored(server, DAILY, {"cron": "0 12 * * *"})
    first, second = await listed(server)
    async with server.as_client("submitter") as client:
        await client.post(f"/v1/schedules/{first['id']}/pause")
    await stored(server, DAILY | {"timezone": "Europe/Paris"}, {"cron": "0 12 * * *"})
    found = {each["id"]: each for each in await listed(server)}
    assert found.keys() == {first["id"], second["id"]}
    assert found[first["id"]]["paused"]
    assert found[first["id"]]["spec"]["timezone"] == "Europe/Paris"
    assert not found[second["id"]]["paused"]
