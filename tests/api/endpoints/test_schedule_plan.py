"""Checks plans in short against the whole list of planned runs, and that their size is bounded."""

import random
from itertools import pairwise

import httpx
import pytest

from control.model import limits
from control.model.states import Role
from control.model.times import from_rfc3339, to_rfc3339
from store import schedules
from tests.api.serving import NOW_MS, PIPELINE, Serving

HOUR_MS = 3_600_000


async def _schedule(server: Serving, name: str, rows: list[tuple[int, int]]) -> int:
    """A schedule with these nominal and due times planned."""
    definition = PIPELINE | {"name": name, "schedules": [{"cron": "0 * * * *"}]}
    async with server.as_client("submitter") as calling:
        answer = await calling.put(f"/v1/pipelines/{name}", json=definition)
        assert answer.status_code == 201, answer.text
        (made,) = (await calling.get(f"/v1/schedules?pipeline={name}")).json()["items"]
    schedule_id: int = made["id"]

    def fill(conn: object) -> None:
        schedules.plan(conn, schedule_id, rows)  # type: ignore[arg-type]
        schedules.planned_until(conn, schedule_id, NOW_MS + 9 * HOUR_MS)  # type: ignore[arg-type]

    await server.parts.writer.write(lambda tx: fill(tx.conn))
    return schedule_id


async def _all(client: httpx.AsyncClient) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    cursor = ""
    while True:
        page = (await client.get(f"/v1/scheduled-runs?limit=1000{cursor}")).json()
        found += page["items"]
        if page["next_cursor"] is None:
            return found
        cursor = f"&cursor={page['next_cursor']}"


@pytest.mark.parametrize("seed", range(4))
async def test_it_is_the_list_in_short(server: Serving, seed: int) -> None:
    chance = random.Random(seed)
    for number in range(4):
        nominals = sorted(
            {NOW_MS + chance.randrange(-60, 47 * 3600) * 1000 for _ in range(chance.randrange(60))}
        )
        rows = [(each, each + chance.choice([0, 0, 700])) for each in nominals]
        await _schedule(server, f"p{number}", rows)
    bucket_s = chance.choice([600, 1800, 3600])
    async with server.as_client("viewer") as client:
        every = await _all(client)
        query = f"bucket={bucket_s}&next=3"
        found = (await client.get(f"/v1/schedules/plan?{query}&limit=2")).json()
        items, cursor = found["items"], found["next_cursor"]
        rest = (await client.get(f"/v1/schedules/plan?{query}&cursor={cursor}")).json()
        items += rest["items"]
    assert len(items) == 4
    assert rest["next_cursor"] is None
    for item in items:
        own = [each for each in every if each["schedule_id"] == item["schedule_id"]]
        assert item["runs"] == len(own)
        moments = sorted(from_rfc3339(str(each["nominal"])) for each in own)
        apart = [(after - before) / 1000 for before, after in pairwise(moments)]
        assert item["shortest_seconds"] == min(apart, default=None)
        first = sorted(own, key=lambda each: str(each["nominal"]))[:3]
        assert item["next"] == sorted(first, key=lambda each: str(each["due"]))
        naive: dict[int, list[int]] = {}
        for each in own:
            due_ms = max(from_rfc3339(str(each["due"])), NOW_MS)
            naive.setdefault(due_ms // (bucket_s * 1000), []).append(due_ms)
        assert [(from_rfc3339(each["at"]), each["runs"]) for each in item["stretches"]] == [
            (min(dues), len(dues)) for _, dues in sorted(naive.items())
        ]
        assert item["until"] == to_rfc3339(NOW_MS + 9 * HOUR_MS)


async def test_its_size_is_that_of_the_schedules(server: Serving) -> None:
    rows = [(NOW_MS + each * 17_000, NOW_MS + each * 17_000) for each in range(10_000)]
    await _schedule(server, "each-17-seconds", rows)
    async with server.as_client("viewer") as client:
        found = await client.get("/v1/schedules/plan?bucket=1800")
        assert len(found.content) < 10_000
        assert sum(each["runs"] for each in found.json()["items"][0]["stretches"]) == 10_000
        assert len((await client.get("/v1/schedules/plan")).content) < 2_000


async def test_others_see_none_of_it_and_wrong_questions_are_said(server: Serving) -> None:
    await _schedule(server, "mine", [(NOW_MS, NOW_MS)])
    await server.add_client("other", Role.SUBMITTER)
    async with server.as_client("other") as client:
        assert (await client.get("/v1/schedules/plan")).json()["items"] == []
        least = limits.PLAN_STRETCH_MIN_S
        refused = await client.get(f"/v1/schedules/plan?bucket={least - 1}")
        assert refused.status_code == 422
        assert str(least) in refused.text


async def test_the_size_of_a_backfill(server: Serving) -> None:
    begin_ms = NOW_MS - NOW_MS % HOUR_MS - 5 * HOUR_MS
    schedule_id = await _schedule(server, "nightly", [(begin_ms + HOUR_MS, begin_ms + HOUR_MS)])
    stretch = {"from": to_rfc3339(begin_ms), "until": to_rfc3339(begin_ms + 3 * HOUR_MS)}
    path = f"/v1/schedules/{schedule_id}/backfill"
    async with server.as_client("submitter") as client:
        asked = {"since": stretch["from"], "until": stretch["until"]}
        size = await client.get(path, params=asked)
        assert size.json() == {"planned": 3, "found": 4}
        assert (await client.post(path, json=stretch)).json() == size.json()
        assert (await client.get(path, params=asked)).json() == {"planned": 0, "found": 4}
        wrong = {"since": stretch["until"], "until": stretch["from"]}
        assert (await client.get(path, params=wrong)).status_code == 422
    await server.add_client("other", Role.SUBMITTER)
    async with server.as_client("other") as client:
        assert (await client.get(path, params=asked)).status_code in {403, 404}
