"""Checks how long runs should still take, as lists of them show it."""

from pathlib import Path

from tests.api.serving import PIPELINE, Serving, serving


async def test_a_list_says_the_same_as_the_run_itself(server: Serving) -> None:
    async with server.as_client("submitter") as client:
        await client.put("/v1/pipelines/nightly", json=PIPELINE)
        ids = [(await client.post("/v1/pipelines/nightly/runs")).json()["id"] for _ in range(3)]
        await client.post(f"/v1/runs/{ids[1]}/cancel")
        listed = (await client.get("/v1/runs")).json()["items"]
        # Two stages, 2.5 seconds each.
        assert [run["expected_seconds"] for run in listed] == [5.0, None, 5.0]
        for run in listed:
            assert (await client.get(f"/v1/runs/{run['id']}")).json() == run


async def test_of_many_long_runs_only_the_first_are_looked_into(tmp_path: Path) -> None:
    jobs = [
        {"name": f"j{n}", "stage": "a", "kind": "Sleep", "params": {"seconds": 1}}
        for n in range(1_000)
    ]
    async with (
        serving(tmp_path, queue_size=100_000) as server,
        server.as_client("admin") as client,
    ):
        for name, many in (("small", jobs[:2]), ("large", jobs)):
            long = {"name": name, "stages": ["a"], "jobs": many}
            await client.put(f"/v1/pipelines/{name}", json=long)
        runs = [{"pipeline": name} for name in ("small", *["large"] * 21)]
        started = await client.post("/v1/runs:batch", json={"runs": runs})
        assert started.status_code == 201, started.text
        listed = (await client.get("/v1/runs")).json()["items"]
    assert [run["expected_seconds"] for run in listed] == [2.5] * 20 + [None, None]
