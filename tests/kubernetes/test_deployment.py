"""Decides what a rollout looks like from outside: applied fields, progress, failures, and undo."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import trio

from bench.servers.cluster.simulated import SimulatedCluster
from control.model.errors import JobFailed
from tests.kubernetes.cluster_runs import ClusterRuns, a_job, through
from tests.kubernetes.gate import Gate, gate
from workers.kinds.kubernetes.deployment import KubernetesDeploymentParams

pytestmark = pytest.mark.kubernetes

Deployments = ClusterRuns[KubernetesDeploymentParams]


def web(*containers: str, labels: Mapping[str, str] = {}, **spec: object) -> dict[str, Any]:
    """A Deployment. `labels`: of its pods."""
    pod: dict[str, Any] = {
        "terminationGracePeriodSeconds": 0,
        "containers": [
            {"name": each, "image": "is-replaced", "ports": [{"containerPort": 80}]}
            for each in containers or ["web"]
        ],
    }
    template = {"metadata": {"labels": {"app": "web", **labels}}, "spec": pod}
    selector = {"matchLabels": {"app": "web"}}
    return {
        "metadata": {"name": "web"},
        "spec": {"selector": selector, "template": template, **spec},
    }


async def created(deployments: Deployments, **more: Any) -> Any:  # noqa: ANN401 - Any JSON.
    """The output of the job that creates it."""
    params = {"image": "web:1", "replicas": 2, "manifest": web(), **more}
    return await deployments(a_job(1), name="web", **params)


def there(deployments: Deployments) -> Any:  # noqa: ANN401 - Any JSON.
    """The Deployment, now."""
    return deployments.cluster.call("GET", deployments.path("deployments", "web"))


def image(deployments: Deployments) -> str:
    """What it runs."""
    text: str = there(deployments)["spec"]["template"]["spec"]["containers"][0]["image"]
    return text


async def failure(deployments: Deployments, **params: Any) -> JobFailed:  # noqa: ANN401
    """How a job fails."""
    with pytest.raises(JobFailed) as caught:
        await deployments.run(a_job(2), name="web", **params)
    return caught.value


async def test_a_manifest_creates_it_and_the_next_image_is_rolled_out(
    deployments: Deployments,
) -> None:
    output = await created(deployments)
    assert output == {
        "namespace": deployments.namespace,
        "name": "web",
        "revision": 1,
        "revision_before": 0,
        "container": "web",
        "image": "web:1",
        "replicas": 2,
    }
    output = await deployments(a_job(2), name="web", image="web:2")
    assert (output["revision"], output["revision_before"]) == (2, 1)
    assert (output["image"], output["replicas"]) == ("web:2", 2)
    assert deployments.log.fractions[-1] == 1.0
    assert "web: all 2 replicas are updated" in deployments.log.text
    made = there(deployments)
    managers = {(each["manager"], each["operation"]) for each in made["metadata"]["managedFields"]}
    assert ("taskplane", "Apply") in managers
    assert made["metadata"]["annotations"]["taskplane/run"] == "7"
    # What the first job applied is there after the second, which said nothing of it.
    assert made["spec"]["replicas"] == 2
    (container,) = made["spec"]["template"]["spec"]["containers"]
    assert (container["image"], container["ports"][0]["containerPort"]) == ("web:2", 80)


async def test_fields_of_others_stay_theirs(deployments: Deployments) -> None:
    own = web() | {"apiVersion": "apps/v1", "kind": "Deployment"}
    own["metadata"]["labels"] = {"owner": "ann"}
    deployments.cluster.call("POST", deployments.path("deployments"), own)
    await deployments(a_job(1), name="web", image="web:7")
    await deployments(a_job(2), name="web", image="web:8", replicas=3)
    await deployments(a_job(3), name="web", image="web:9")
    made = there(deployments)
    assert made["metadata"]["labels"] == {"owner": "ann"}
    assert made["spec"]["replicas"] == 3
    assert image(deployments) == "web:9"


async def test_one_of_several_containers(deployments: Deployments) -> None:
    own = web("web", "sidecar")
    assert "has several containers (web, sidecar)" in str(
        await failure(deployments, image="web:1", manifest=own)
    )
    assert "has no container 'wep'; it has: web, sidecar" in str(
        await failure(deployments, image="web:1", manifest=own, container="wep")
    )
    await deployments(a_job(3), name="web", image="web:1", manifest=own, container="web")
    output = await deployments(a_job(4), name="web", image="side:2", container="sidecar")
    assert output["image"] == "side:2"
    assert image(deployments) == "web:1"


async def test_there_is_none(deployments: Deployments) -> None:
    problem = await failure(deployments, image="web:1")
    assert "there is no Deployment 'web'" in str(problem)
    assert problem.final


async def stuck(deployments: Deployments, **params: Any) -> JobFailed:  # noqa: ANN401
    """How a rollout fails whose new pod cannot pull its image."""
    await created(deployments, replicas=1)
    caught: list[JobFailed] = []

    async def run() -> None:
        caught.append(await failure(deployments, image="web:2", **params))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        pods = await deployments.until(
            "pods", lambda found: any(each["metadata"]["labels"].get("by-hand") for each in found)
        )
        (pod,) = [each for each in pods if each["metadata"]["labels"].get("by-hand")]
        waiting = {"reason": "ImagePullBackOff", "message": "no such image"}
        status = {
            "name": "web",
            "image": "web:2",
            "imageID": "",
            "ready": False,
            "restartCount": 0,
            "state": {"waiting": waiting},
        }
        deployments.set_status(pod, containerStatuses=[status])
    return caught[0]


HAND = {"by-hand": "yes"}


async def test_the_progress_deadline_with_what_is_wrong_with_a_pod(
    deployments: Deployments,
) -> None:
    own = web(labels=HAND, progressDeadlineSeconds=1)
    words = str(await stuck(deployments, manifest=own))
    assert "the rollout of web failed: ProgressDeadlineExceeded: ReplicaSet" in words
    assert "cannot start: ImagePullBackOff: no such image" in words
    assert image(deployments) == "web:2"


async def test_a_rollout_in_time_or_undone(deployments: Deployments) -> None:
    own = web(labels=HAND)
    problem = await stuck(deployments, manifest=own, rollout_timeout=2, undo=True)
    words = str(problem)
    assert "not rolled out after 2 s" in words
    assert "went back to revision 1" in words
    assert image(deployments) == "web:1"


async def test_a_first_revision_has_none_before(deployments: Deployments) -> None:
    own = web(labels=HAND)
    problem = await failure(deployments, image="web:1", manifest=own, rollout_timeout=1, undo=True)
    assert "there is no revision before to go back to" in str(problem)


async def test_a_cancelled_rollout_goes_on_or_is_undone(deployments: Deployments) -> None:
    await created(deployments, replicas=1)
    for undo, expected in ((False, "web:2"), (True, "web:1")):
        deployments.log.text = ""
        own = web(labels=HAND)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                lambda: deployments.run(
                    a_job(5),
                    name="web",
                    image="web:2",
                    manifest=own,  # noqa: B023 - It is started at once.
                    undo=undo,  # noqa: B023 - As above.
                )
            )
            await deployments.log.until("replicas are")
            nursery.cancel_scope.cancel()
        assert image(deployments) == expected
        await deployments(a_job(6), name="web", image="web:1", manifest=web(), replicas=1)


async def test_a_paused_deployment(deployments: Deployments) -> None:
    await created(deployments)
    path = deployments.path("deployments", "web")
    deployments.cluster.call("PATCH", path, {"spec": {"paused": True}}, "merge-patch+json")
    assert "is paused: resume it first" in str(await failure(deployments, image="web:2"))


async def test_a_change_by_another_is_not_called_ours(deployments: Deployments) -> None:
    await created(deployments, replicas=1)
    caught: list[JobFailed] = []

    async def run() -> None:
        caught.append(await failure(deployments, image="web:2", manifest=web(labels=HAND)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await deployments.log.until("applied web:2")
        container = {"name": "web", "image": "web:3"}
        body = {"spec": {"template": {"spec": {"containers": [container]}}}}
        path = deployments.path("deployments", "web")
        deployments.cluster.call("PATCH", path, body, "strategic-merge-patch+json")
    assert "was changed during its rollout of web:2" in str(caught[0])


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


async def test_the_next_attempt_goes_on_after_a_lost_one(
    deployments: Deployments, way: Gate
) -> None:
    await created(deployments, replicas=1)
    own = web(labels=HAND)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            lambda: deployments.run(a_job(2), name="web", image="web:2", manifest=own)
        )
        await deployments.log.until("replicas are")
        way.cut()
        nursery.cancel_scope.cancel()
    way.mend()
    with pytest.raises(JobFailed, match="went back to revision 1"):
        await deployments.run(
            a_job(2, attempt=2, first=1),
            name="web",
            image="web:2",
            manifest=own,
            rollout_timeout=1,
            undo=True,
        )
    assert image(deployments) == "web:1"  # Not the revision of its own first attempt.


async def test_a_lost_connection_loses_nothing(deployments: Deployments, way: Gate) -> None:
    await created(deployments, replicas=1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            lambda: deployments.run(a_job(2), name="web", image="web:2", manifest=web(labels=HAND))
        )
        pods = await deployments.until("pods", lambda found: len(found) == 2)
        await deployments.log.until("replicas are")
        way.cut()
        await way.refused.wait()
        (pod,) = [each for each in pods if each["metadata"]["labels"].get("by-hand")]
        deployments.mark(pod, **{"by-hand": None})
        way.mend()


async def test_bad_credentials_say_what_they_may_not(deployments: Deployments) -> None:
    problem = await failure(deployments, image="web:1", context="limited")
    assert "may not get deployments in namespace" in str(problem)
    assert problem.final
    problem = await failure(deployments, image="web:1", context="stranger")
    assert "does not accept the worker's credentials" in str(problem)


async def test_an_unreachable_cluster_fails_in_words(deployments: Deployments, way: Gate) -> None:
    way.cut()
    assert "cannot be reached" in str(await failure(deployments, image="web:1"))


async def test_hostile_text_stays_text(deployments: Deployments) -> None:
    hostile = "web:1'; rm -rf / #$(reboot) \u202e"
    output = await created(deployments, image=hostile)
    assert output["image"] == image(deployments) == hostile
