"""Checks the calls that show single attempts: of one task, of one worker."""

import pytest

from store.facts.database import Facts
from tests.api.serving import NOW_MS, Serving
from tests.store.facts.fact_samples import fact

ENDED_MS = NOW_MS - 60_000


async def with_facts(server: Serving) -> None:
    facts = server.parts.reports
    assert isinstance(facts, Facts)
    rows = [
        fact(1, finished_ms=ENDED_MS, started_ms=ENDED_MS - 2_000),
        fact(2, finished_ms=ENDED_MS + 5, started_ms=ENDED_MS, duration_seconds=40.0),
        fact(3, finished_ms=ENDED_MS, started_ms=ENDED_MS, worker="w-2", job="other"),
    ]
    await server.parts.offload(lambda: facts.append(rows, "results", {0: 2}))


async def test_a_task_is_shown_with_its_slowest_attempts(server: Serving) -> None:
    await with_facts(server)
    async with server.as_client("viewer") as client:
        query = "pipeline=nightly&job=pull&window=15m&limit=1"
        shown = (await client.get(f"/v1/stats/task?{query}")).json()
        assert (shown["pipeline"], shown["job"]) == ("nightly", "pull")
        assert sum(each["n"] for each in shown["histogram"]) == 2
        assert shown["histogram"][-1]["below"] > 40
        assert shown["duration"]["max"] == 40.0
        assert [each["job_id"] for each in shown["slowest"]] == [2]
        assert shown["slowest"][0]["duration_seconds"] == 40.0
        unknown = (await client.get("/v1/stats/task?pipeline=nobody&job=pull")).json()
        assert (unknown["histogram"], unknown["slowest"]) == ([], [])


async def test_a_workers_history_is_shown_whether_it_is_there_or_gone(server: Serving) -> None:
    await with_facts(server)
    async with server.as_client("viewer") as client:
        page = (await client.get("/v1/workers/w-1/history")).json()
        assert [each["job_id"] for each in page["items"]] == [2, 1]
        assert page["items"][1]["started_at"] < page["items"][1]["finished_at"]
        page = (await client.get("/v1/workers/w-1/history?limit=1")).json()
        assert [each["job_id"] for each in page["items"]] == [2]
        page = (await client.get("/v1/workers/w-1/history?window=30s")).json()
        assert page == {"items": [], "next_cursor": None}


@pytest.mark.parametrize(
    ("call", "where"),
    [
        ("/v1/stats/task", "pipeline"),
        ("/v1/stats/task?pipeline=a", "job"),
        ("/v1/stats/task?pipeline=a&job=b&limit=101", "limit"),
        ("/v1/stats/task?pipeline=a&job=b&window=soon", "window"),
        ("/v1/workers/w-1/history?limit=1001", "limit"),
        ("/v1/workers/w-1/history?window=0", "window"),
        (f"/v1/workers/{'w' * 129}/history", "worker_id"),
    ],
)
async def test_what_cannot_be_answered_is_told_where_it_stands(
    server: Serving, call: str, where: str
) -> None:
    async with server.as_client("viewer") as client:
        refused = await client.get(call)
    assert refused.status_code == 422
    told = refused.json()
    assert where in str(told)
