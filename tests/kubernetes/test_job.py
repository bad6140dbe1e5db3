"""Decides how a Job looks from outside: its marks, log, output, and the words for its end."""

import json
from typing import Any

import pytest
import trio

from control.model.errors import JobFailed
from tests.kubernetes.cluster_runs import ClusterRuns, a_job, manifest
from workers.kinds.kubernetes.job import KubernetesJobParams

pytestmark = pytest.mark.kubernetes

Jobs = ClusterRuns[KubernetesJobParams]


async def failure(jobs: Jobs, **params: object) -> JobFailed:
    """How an attempt fails."""
    with pytest.raises(JobFailed) as caught:
        await jobs.run(a_job(1), **params)
    return caught.value


BY_HAND = {"by-hand": "yes"}


async def until_noted(
    jobs: Jobs, words: str, own: dict[str, Any], status: dict[str, Any] | None = None
) -> str:
    """The log of a job whose pod gets this status, once these words are in it; it is cancelled."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: jobs.run(a_job(1), manifest=own))
        if status is not None:
            jobs.set_status(await jobs.pod(), **status)
        await jobs.log.until(words)
        nursery.cancel_scope.cancel()
    return jobs.log.text


def waiting(reason: str, message: str, **more: object) -> dict[str, Any]:
    """A container that waits."""
    return {
        "name": "main",
        "image": "busybox",
        "imageID": "",
        "ready": False,
        "restartCount": 0,
        "state": {"waiting": {"reason": reason, "message": message}},
        **more,
    }


def ended(exit_code: int, reason: str = "Error", message: str = "") -> dict[str, Any]:
    """A container that has ended."""
    end = {
        "exitCode": exit_code,
        "reason": reason,
        "message": message,
        "startedAt": "2026-01-02T03:04:05Z",
        "finishedAt": "2026-01-02T03:05:05Z",
    }
    return waiting("", "") | {"state": {"terminated": end}}


async def test_a_job_that_succeeds(jobs: Jobs) -> None:
    jobs.cluster.write_log("main", "first", "zweite Zeile: grün")
    output = await jobs(a_job(11), manifest=manifest())
    assert output["namespace"] == jobs.namespace
    assert output["job"].startswith("migrate-11-1-")
    assert (output["succeeded"], output["failed"]) == (1, 0)
    pod = output["pod"]
    assert (pod["node"], pod["phase"]) == ("simulated", "Succeeded")
    (container,) = pod["containers"]
    assert (container["name"], container["exit_code"]) == ("main", 0)
    assert "first\nzweite Zeile: grün\n" in jobs.log.text
    assert f"created the Job {jobs.namespace}/{output['job']}" in jobs.log.text
    assert jobs.log.fractions[-1] == 1.0
    await jobs.until("jobs", lambda found: not found)  # `delete` is `on_success`.


async def test_its_marks_and_environment(jobs: Jobs) -> None:
    own = manifest(labels={"team": "data"})
    own["metadata"] = {"name": "Load.Orders", "labels": {"tier": "night"}}
    own["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "MINE", "value": "1"}]
    job = a_job(12, env={"MINE": "not this", "PRICE": "$(HOME) costs $5"})
    await jobs.run(job, manifest=own, delete="never")
    (made,) = jobs.get("jobs")
    assert made["metadata"]["name"].startswith("load-orders-12-1-")
    (pod,) = jobs.get("pods")
    marks = {
        "taskplane/installation": "here",
        "taskplane/run": "7",
        "taskplane/job": "12",
        "taskplane/attempt": "1",
    }
    for part, label in ((made, {"tier": "night"}), (pod, {"team": "data"})):
        assert (marks | label).items() <= part["metadata"]["labels"].items()
        assert part["metadata"]["annotations"]["taskplane/job-name"] == "migrate"
        assert part["metadata"]["annotations"]["taskplane/pipeline"] == "nightly"
    env = {each["name"]: each["value"] for each in pod["spec"]["containers"][0]["env"]}
    assert env["MINE"] == "1"
    assert env["PRICE"] == "$$(HOME) costs $$5"  # The API makes single ones of them.
    assert (env["TP_RUN_ID"], env["TP_JOB_ID"], env["TP_ATTEMPT"]) == ("7", "12", "1")


async def test_several_containers_say_whose_line_it_is(jobs: Jobs) -> None:
    jobs.cluster.write_log("setup", "preparing")
    jobs.cluster.write_log("main", "working")
    own = manifest("main", "other", pod={"initContainers": [{"name": "setup", "image": "busybox"}]})
    output = await jobs(a_job(13), manifest=own)
    pod = output["pod"]["name"]
    assert f"[{pod}/setup] preparing\n" in jobs.log.text
    assert f"[{pod}/main] working\n" in jobs.log.text
    assert f"[{pod}/other] working\n" in jobs.log.text


async def test_pods_are_counted(jobs: Jobs) -> None:
    await jobs.run(a_job(14), manifest=manifest(completions=4, parallelism=2))
    assert jobs.log.fractions == sorted(jobs.log.fractions)
    assert jobs.log.fractions[-1] == 1.0


async def test_a_huge_log_and_a_line_without_end(jobs: Jobs) -> None:
    lines = [f"line {number} " + "x" * 100 for number in range(20_000)]
    jobs.cluster.write_log("loud", *lines, "y" * 300_000, "the last")
    await jobs.run(a_job(15), manifest=manifest("loud"))
    text = "".join(f"{line}\n" for line in [*lines, "y" * 300_000, "the last"])
    assert text in jobs.log.text


async def test_hostile_text_stays_text(jobs: Jobs) -> None:
    hostile = "'; rm -rf / #\u202e$(reboot)\t\\u0000 {{ .Now }} \x1b[2J"
    own = manifest()
    own["metadata"] = {"annotations": {"note": hostile}}
    own["spec"]["template"]["spec"]["containers"][0]["command"] = ["echo", hostile]
    await jobs.run(a_job(16, env={"VALUE": hostile}), manifest=own, delete="never")
    (made,) = jobs.get("jobs")
    assert made["metadata"]["annotations"]["note"] == hostile
    container = made["spec"]["template"]["spec"]["containers"][0]
    assert container["command"] == ["echo", hostile]
    assert {"name": "VALUE", "value": hostile.replace("$", "$$")} in container["env"]
    assert "Invalid value" in str(
        await failure(jobs, manifest={**manifest(), "metadata": {"labels": {"a": hostile}}})
    )


async def test_a_container_that_fails(jobs: Jobs) -> None:
    problem = await failure(jobs, manifest=manifest(labels={"fails": "3"}))
    assert problem.exit_code == 3
    words = str(problem)
    assert "BackoffLimitExceeded: Job has reached the specified backoff limit" in words
    assert "container main of pod migrate-1-1-" in words
    assert "ended with exit code 3" in words
    assert len(jobs.get("jobs")) == 1  # It stays, to be looked at.


async def test_a_failed_job_is_deleted_on_demand(jobs: Jobs) -> None:
    await failure(jobs, manifest=manifest(labels={"fails": "3"}), delete="always")
    await jobs.until("jobs", lambda found: not found)


async def test_out_of_memory_names_the_limit(jobs: Jobs) -> None:
    problem = await end_by_hand(
        jobs,
        {"phase": "Failed", "containerStatuses": [ended(137, "OOMKilled")]},
        memory="64Mi",
    )
    assert problem.exit_code == 137
    assert "needed more memory than its limit of 64Mi: OOMKilled" in str(problem)


async def test_an_evicted_pod(jobs: Jobs) -> None:
    problem = await end_by_hand(
        jobs, {"phase": "Failed", "reason": "Evicted", "message": "The node was low on memory."}
    )
    assert "Evicted: The node was low on memory." in str(problem)


async def test_a_termination_message_is_in_output_and_failure(jobs: Jobs) -> None:
    status = {"phase": "Failed", "containerStatuses": [ended(2, message="no such table: orders")]}
    problem = await end_by_hand(jobs, status)
    assert "ended with exit code 2: no such table: orders" in str(problem)


async def end_by_hand(jobs: Jobs, status: dict[str, Any], **more: Any) -> JobFailed:  # noqa: ANN401
    """How an attempt fails whose pod gets this status."""
    caught: list[JobFailed] = []

    async def run() -> None:
        own = manifest(labels=BY_HAND, **more)
        caught.append(await failure(jobs, manifest=own))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        jobs.set_status(await jobs.pod(), **status)
    return caught[0]


async def test_a_deadline_of_its_own(jobs: Jobs) -> None:
    own = manifest(labels={"hold": "yes"}, activeDeadlineSeconds=1)
    problem = await failure(jobs, manifest=own)
    assert "DeadlineExceeded: Job was active longer than specified deadline" in str(problem)


async def test_an_image_that_cannot_be_pulled(jobs: Jobs) -> None:
    message = 'Back-off pulling image "busybox"'
    status = {"containerStatuses": [waiting("ImagePullBackOff", message)]}
    text = await until_noted(jobs, "ImagePullBackOff", manifest(labels=BY_HAND), status)
    assert f"cannot start: ImagePullBackOff: {message}" in text


async def test_a_container_that_crashes_again_and_again(jobs: Jobs) -> None:
    last = {"lastState": ended(4)["state"], "restartCount": 5}
    status = {"containerStatuses": [waiting("CrashLoopBackOff", "back-off 5m0s", **last)]}
    text = await until_noted(jobs, "CrashLoopBackOff", manifest(labels=BY_HAND), status)
    assert "ended with exit code 4, after 5 restarts: CrashLoopBackOff" in text


async def test_no_node_for_a_pod(jobs: Jobs) -> None:
    own = manifest(pod={"nodeSelector": {"disk": "golden"}})
    text = await until_noted(jobs, "Unschedulable", own)
    assert "is Unschedulable: 0/1 nodes are available: 1 node(s) didn't match" in text


async def test_a_pod_that_does_not_start_in_time_fails_the_job(jobs: Jobs) -> None:
    status = {"containerStatuses": [waiting("InvalidImageName", "it is wrong")]}
    caught: list[JobFailed] = []

    async def run() -> None:
        caught.append(await failure(jobs, manifest=manifest(labels=BY_HAND), start_timeout=10))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        jobs.set_status(await jobs.pod(), **status)
    assert "cannot start: InvalidImageName: it is wrong (for 10 s)" in str(caught[0])
    await jobs.until("jobs", lambda found: not found)  # It would go on.


async def test_what_the_api_server_refuses_is_final_and_says_why(jobs: Jobs) -> None:
    own = manifest()
    del own["spec"]["template"]["spec"]["restartPolicy"]
    problem = await failure(jobs, manifest=own)
    assert "refused to create jobs" in str(problem)
    assert "restartPolicy: Required value" in str(problem)
    assert problem.final


async def test_the_output_is_json_that_a_later_job_can_use(jobs: Jobs) -> None:
    result = await jobs.run(a_job(17), manifest=manifest())
    assert json.loads(bytes(result.output))["pod"]["containers"][0]["exit_code"] == 0
    assert result.exit_code == 0
