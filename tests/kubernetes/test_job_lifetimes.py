"""Decides what becomes of a Job when its worker is lost, its attempt stopped, or the way cut."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from bench.servers.cluster.simulated import SimulatedCluster
from control.model.errors import JobFailed
from tests.kubernetes.cluster_runs import ClusterRuns, a_job, manifest, through
from tests.kubernetes.gate import Gate, gate
from workers.kinds.kubernetes.job import KubernetesJobParams

pytestmark = pytest.mark.kubernetes

Jobs = ClusterRuns[KubernetesJobParams]
HOLD = {"hold": "yes"}


@pytest.fixture
async def way(
    cluster: SimulatedCluster,
    namespace: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Gate]:
    """The way of jobs to the API server."""
    async with gate(cluster.port) as opened:
        path = through(cluster.kubeconfig, opened.port, tmp_path)
        monkeypatch.setenv("KUBECONFIG", str(path))
        yield opened


async def lose_worker(jobs: Jobs, way: Gate, **params: Any) -> Any:  # noqa: ANN401
    """The pod that runs on after the worker of the first attempt was lost."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: jobs.run(a_job(1), **params))
        pod = await jobs.pod()
        await jobs.log.until("is on node")
        way.cut()  # A killed worker deletes nothing.
        nursery.cancel_scope.cancel()
    way.mend()
    return pod


async def test_the_next_attempt_adopts_what_a_lost_one_left(jobs: Jobs, way: Gate) -> None:
    params = {"manifest": manifest(labels=HOLD), "delete": "never"}
    pod = await lose_worker(jobs, way, **params)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: jobs.run(a_job(1, attempt=3, first=1), **params))
        await jobs.log.until("which attempt 1 has left running")
        jobs.mark(pod, hold=None)
    (job,) = jobs.get("jobs")
    assert job["metadata"]["labels"]["taskplane/attempt"] == "3"
    assert job["status"]["succeeded"] == 1
    assert [each["metadata"]["uid"] for each in jobs.get("pods")] == [pod["metadata"]["uid"]]


async def test_a_job_that_ended_while_nobody_looked_is_adopted_too(jobs: Jobs, way: Gate) -> None:
    params = {"manifest": manifest(labels=HOLD)}
    pod = await lose_worker(jobs, way, **params)
    jobs.mark(pod, hold=None)
    await jobs.until("jobs", lambda found: found[0]["status"].get("succeeded") == 1)
    output = await jobs(a_job(1, attempt=2, first=1), **params)
    assert output["pod"]["name"] == pod["metadata"]["name"]


async def test_after_a_failure_nothing_is_adopted(jobs: Jobs) -> None:
    with pytest.raises(JobFailed):
        await jobs.run(a_job(1), manifest=manifest(labels={"fails": "1"}))
    await jobs.run(a_job(1, attempt=2, first=2), manifest=manifest())
    assert "left running" not in jobs.log.text


async def test_a_lost_worker_that_still_lives_leaves_the_job_to_its_heir(jobs: Jobs) -> None:
    params = {"manifest": manifest(labels=HOLD), "delete": "never"}
    lost = trio.Event()

    async def live_on() -> None:
        with pytest.raises(JobFailed, match="was adopted by attempt 2"):
            await jobs.run(a_job(1), **params)
        lost.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(live_on)
        pod = await jobs.pod()
        async with trio.open_nursery() as heirs:
            heirs.start_soon(lambda: jobs.run(a_job(1, attempt=2, first=1), **params))
            await jobs.log.until("which attempt 1 has left running")
            await lost.wait()
            jobs.mark(pod, hold=None)


async def test_another_installation_has_jobs_of_its_own(jobs: Jobs) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: jobs.run(a_job(1), manifest=manifest(labels=HOLD)))
        await jobs.pod()
        theirs = a_job(1, attempt=2, first=1, installation="there")
        await jobs.run(theirs, manifest=manifest())
        assert "left running" not in jobs.log.text
        nursery.cancel_scope.cancel()


async def test_a_cancelled_job_is_deleted_with_its_pods(jobs: Jobs) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: jobs.run(a_job(1), manifest=manifest(labels=HOLD)))
        await jobs.log.until("is on node")
        nursery.cancel_scope.cancel()
    # Foreground: pods first, then the Job; and it was waited for.
    assert jobs.get("jobs") == []
    assert jobs.get("pods") == []


async def test_a_timed_out_job_is_deleted_with_its_pods(jobs: Jobs) -> None:
    with trio.move_on_after(1) as scope:
        await jobs.run(a_job(1), manifest=manifest(labels=HOLD))
    assert scope.cancelled_caught
    assert jobs.get("jobs") == []
    assert jobs.get("pods") == []


async def test_a_stopped_job_is_not_adopted_but_made_anew(jobs: Jobs) -> None:
    own = manifest(labels=HOLD)
    own["metadata"] = {"finalizers": ["taskplane.test/hold"]}  # Its deletion takes a while.

    async def be_stopped() -> None:
        with pytest.raises(JobFailed, match="was deleted"):
            await jobs.run(a_job(1), manifest=own)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(be_stopped)
        await jobs.log.until("is on node")
        name = jobs.get("jobs")[0]["metadata"]["name"]
        path = jobs.path("jobs", name)
        jobs.cluster.call("DELETE", path, {"propagationPolicy": "Background"})
        async with trio.open_nursery() as heirs:
            heirs.start_soon(lambda: jobs.run(a_job(1, attempt=2, first=1), manifest=manifest()))
            await jobs.until("jobs", lambda found: "deletionTimestamp" in found[0]["metadata"])
            body = {"metadata": {"finalizers": None}}
            jobs.cluster.call("PATCH", path, body, "merge-patch+json")
        nursery.cancel_scope.cancel()


async def test_a_job_that_somebody_deletes_fails(jobs: Jobs) -> None:
    caught: list[JobFailed] = []

    async def run() -> None:
        with pytest.raises(JobFailed) as failure:
            await jobs.run(a_job(1), manifest=manifest(labels=HOLD))
        caught.append(failure.value)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await jobs.log.until("is on node")
        name = jobs.get("jobs")[0]["metadata"]["name"]
        jobs.cluster.call("DELETE", jobs.path("jobs", name), {"propagationPolicy": "Background"})
    assert "was deleted, but not by its attempt" in str(caught[0])


async def test_a_lost_connection_loses_nothing(jobs: Jobs, way: Gate) -> None:
    jobs.cluster.write_log("main", "before", "after")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: jobs.run(a_job(1), manifest=manifest(labels=HOLD)))
        await jobs.log.until("after\n")
        way.cut()
        await way.refused.wait()
        jobs.mark(await jobs.pod(), hold=None)
        way.mend()
    assert jobs.log.text.count("before\n") == jobs.log.text.count("after\n") == 1
    assert "cannot be reached" in jobs.log.text
    assert "trying again" in jobs.log.text


async def test_a_forgotten_version_is_listed_again(jobs: Jobs, way: Gate) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: jobs.run(a_job(1), manifest=manifest(labels=HOLD)))
        await jobs.log.until("is on node")
        way.cut()
        await way.refused.wait()
        jobs.mark(await jobs.pod(), hold=None)
        await jobs.until("jobs", lambda found: found[0]["status"].get("succeeded") == 1)
        jobs.cluster.forget_versions()
        way.mend()


@pytest.mark.parametrize(
    ("context", "words"),
    [
        ("limited", "may not create jobs in namespace"),
        ("stranger", "does not accept the worker's credentials"),
    ],
)
async def test_bad_credentials_say_what_they_may_not(jobs: Jobs, context: str, words: str) -> None:
    with pytest.raises(JobFailed, match=words) as caught:
        await jobs.run(a_job(1), manifest=manifest(), context=context)
    assert "-token" not in str(caught.value) + jobs.log.text
    assert caught.value.final == (context == "limited")


async def test_logs_that_may_not_be_read_do_not_fail_the_job(jobs: Jobs) -> None:
    allow(jobs, {"jobs": ["create", "get", "list", "watch", "delete"], "pods": ["list", "watch"]})
    await jobs.run(a_job(1), manifest=manifest(), context="limited")
    assert "may not get pods/log in namespace" in jobs.log.text


async def test_a_job_whose_pods_may_not_be_watched_does_not_run_on(jobs: Jobs) -> None:
    allow(jobs, {"jobs": ["create", "get", "list", "watch", "delete"]})
    with pytest.raises(JobFailed, match="may not list pods in namespace"):
        await jobs.run(a_job(1), manifest=manifest(labels=HOLD), context="limited")
    assert jobs.get("jobs") == []


def allow(jobs: Jobs, verbs: dict[str, list[str]]) -> None:
    """Give the user `limited` a role in the namespace of the test."""
    rbac = "rbac.authorization.k8s.io"
    rules = [
        {"apiGroups": ["batch" if each == "jobs" else ""], "resources": [each], "verbs": its}
        for each, its in verbs.items()
    ]
    path = f"/apis/{rbac}/v1/namespaces/{jobs.namespace}"
    jobs.cluster.call("POST", f"{path}/roles", {"metadata": {"name": "some"}, "rules": rules})
    binding = {
        "metadata": {"name": "some"},
        "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "some"},
        "subjects": [{"apiGroup": rbac, "kind": "User", "name": "limited"}],
    }
    jobs.cluster.call("POST", f"{path}/rolebindings", binding)


async def test_an_unreachable_cluster_fails_in_words(jobs: Jobs, way: Gate) -> None:
    way.cut()
    with pytest.raises(JobFailed, match=r"the API server .* cannot be reached"):
        await jobs.run(a_job(1), manifest=manifest())


async def test_a_slow_cluster_is_waited_for(jobs: Jobs, cluster: SimulatedCluster) -> None:
    async with trio.open_nursery() as nursery:
        cluster.pause_api_server()
        try:
            nursery.start_soon(lambda: jobs.run(a_job(1), manifest=manifest()))
            await trio.testing.wait_all_tasks_blocked(0.2)
        finally:
            cluster.resume_api_server()


@pytest.mark.parametrize(
    ("config", "params", "words"),
    [
        ({"contexts": ("limited",)}, {"context": "admin"}, "does not allow the context 'admin'"),
        ({"namespaces": ("batch",)}, {}, "does not allow the namespace"),
        ({}, {"context": "elsewhere"}, "no context 'elsewhere'; it has: admin, limited"),
    ],
)
async def test_the_workers_config_limits_where_jobs_go(
    jobs: Jobs, config: dict[str, tuple[str, ...]], params: dict[str, str], words: str
) -> None:
    jobs.allow(**config)
    with pytest.raises(JobFailed, match=words):
        await jobs.run(a_job(1), manifest=manifest(), **params)


async def test_the_first_context_that_is_allowed_is_the_default(jobs: Jobs) -> None:
    jobs.allow(contexts=("limited", "admin"))
    with pytest.raises(JobFailed, match='User "limited" cannot create'):
        await jobs.run(a_job(1), manifest=manifest())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "there is no kubeconfig"),
        ("users: [{name: a, user: {token: SECRET}]]", "is no YAML, at line 1"),
        ("just a text, SECRET", "cannot be used"),
        ("{users: [{user: {token: SECRET}}], contexts: [], current-context: a}", "cannot be used"),
    ],
)
async def test_a_kubeconfig_that_cannot_be_used(
    jobs: Jobs,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    text: str | None,
    words: str,
) -> None:
    path = tmp_path / "kubeconfig"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    monkeypatch.setenv("KUBECONFIG", str(path))
    with pytest.raises(JobFailed, match=words) as caught:
        await jobs.run(a_job(1), manifest=manifest())
    assert "SECRET" not in str(caught.value)
