"""Checks the forecast, and the expected seconds of schedules and of what they plan."""

from itertools import pairwise
from pathlib import Path

import pytest

from control.model.states import Role
from control.model.times import from_rfc3339, to_rfc3339
from store import schedules
from tests.api.serving import NOW_MS, PIPELINE, Serving, serving

HOUR_MS = 3_600_000
EXPECTED_S = 5.0  # Two stages with one job of 2.5 s each.


async def planned(server: Serving, name: str, client: str, *due_ms: int) -> None:
    """A pipeline with a schedule whose runs are due then."""
    definition = PIPELINE | {"name": name, "schedules": [{"cron": "0 * * * *"}]}
    async with server.as_client(client) as calling:
        answer = await calling.put(f"/v1/pipelines/{name}", json=definition)
        assert answer.status_code == 201, answer.text
        (made,) = (await calling.get(f"/v1/schedules?pipeline={name}")).json()["items"]
    rows = [(at_ms, at_ms) for at_ms in due_ms]
    await server.parts.writer.write(
        lambda tx: schedules.plan(tx.conn, made["id"], rows, backfill=False)
    )


async def test_planned_runs_keep_slots_busy(server: Serving) -> None:
    begin = NOW_MS - NOW_MS % 60_000 + 60_000
    await planned(server, "nightly", "submitter", begin, begin + 57_000, NOW_MS - 5_000)
    async with server.as_client("viewer") as client:
        until = to_rfc3339(begin + 120_000)
        found = (await client.get(f"/v1/forecast?bucket=60&until={until}")).json()
    items = found["items"]
    assert [item["at"] for item in items] == [
        to_rfc3339(NOW_MS),
        to_rfc3339(begin),
        to_rfc3339(begin + 60_000),
    ]
    assert [item["runs"] for item in items] == [1, 2, 0]
    first_s = (begin - NOW_MS) / 1_000
    assert items[0]["slots"] == pytest.approx(EXPECTED_S / first_s, abs=1e-3)
    assert items[1]["slots"] == pytest.approx((EXPECTED_S + 3.0) / 60, abs=1e-3)
    assert items[2]["slots"] == pytest.approx(2.0 / 60, abs=1e-3)
    assert (found["slots"], found["unknown"], found["next_cursor"]) == (2, 0, None)


async def test_without_a_question_it_is_about_48_hours(server: Serving) -> None:
    async with server.as_client("submitter") as client:
        items = (await client.get("/v1/forecast")).json()["items"]
        assert len(items) in {96, 97}
        assert {item["runs"] for item in items} == {0}
        # Nothing is planned beyond, so it says nothing of what is beyond.
        until = to_rfc3339(NOW_MS + 1_000 * HOUR_MS)
        assert (await client.get(f"/v1/forecast?until={until}")).json()["items"] == items
        steps = [from_rfc3339(item["at"]) for item in items]
        assert all(later - earlier == 1_800_000 for earlier, later in pairwise(steps[1:]))


async def test_a_submitter_sees_what_its_own_pipelines_need(server: Serving) -> None:
    await server.add_client("other", Role.SUBMITTER)
    await planned(server, "mine", "submitter", NOW_MS + 1_000)
    await planned(server, "theirs", "other", NOW_MS + 2_000, NOW_MS + 3_000)
    for client_id, runs in (("submitter", 1), ("other", 2), ("viewer", 3)):
        async with server.as_client(client_id) as client:
            found = (await client.get("/v1/forecast")).json()
            assert sum(item["runs"] for item in found["items"]) == runs
            upcoming = (await client.get("/v1/scheduled-runs")).json()["items"]
            assert len(upcoming) == runs
            assert {each["expected_seconds"] for each in upcoming} == {EXPECTED_S}
            listed = (await client.get("/v1/schedules")).json()["items"]
            assert {each["expected_seconds"] for each in listed} == {EXPECTED_S}
    async with server.as_client("submitter") as client:
        (mine,) = (await client.get("/v1/schedules?pipeline=mine")).json()["items"]
        paused = (await client.post(f"/v1/schedules/{mine['id']}/pause")).json()
    assert (paused["paused"], paused["expected_seconds"]) == (True, EXPECTED_S)


async def test_where_nothing_is_known_only_runs_are_counted(tmp_path: Path) -> None:
    async with serving(tmp_path, elsewhere=True) as server:
        await planned(server, "nightly", "submitter", NOW_MS + 1_000, NOW_MS + 2_000)
        async with server.as_client("viewer") as client:
            found = (await client.get("/v1/forecast?bucket=86400")).json()
            assert sum(item["runs"] for item in found["items"]) == found["unknown"] == 2
            assert {item["slots"] for item in found["items"]} == {0.0}
            assert found["slots"] == 0
            (listed,) = (await client.get("/v1/schedules")).json()["items"]
            assert listed["expected_seconds"] is None


@pytest.mark.parametrize(
    ("query", "where"),
    [
        ("until=yesterday", "until"),
        ("until=2020-01-01T00:00:00Z", "until"),
        ("bucket=59", "bucket"),
        ("bucket=86401", "bucket"),
        ("bucket=60", "bucket"),
        ("bucket=x", "bucket"),
    ],
)
async def test_what_cannot_be_foreseen_is_told_where_it_stands(
    server: Serving, query: str, where: str
) -> None:
    async with server.as_client("viewer") as client:
        refused = await client.get(f"/v1/forecast?{query}")
    assert refused.status_code == 422
    assert where in str(refused.json()), refused.json()
