"""Decides what is pure in the kinds of Kubernetes: names, manifests, lines of logs, fields."""

from typing import Any

import msgspec
import pytest

from control.model.surroundings.base import Misplaced
from tests.kubernetes.cluster_runs import a_job, manifest
from workers.kinds.kubernetes.deployment import KubernetesDeploymentParams
from workers.kinds.kubernetes.deployment_change import DeploymentChange, owned, to_apply
from workers.kinds.kubernetes.job import KubernetesJob, KubernetesJobParams
from workers.kinds.kubernetes.objects import Deployment
from workers.kinds.kubernetes.ownership import job_name, labels, own_manifest
from workers.kinds.kubernetes.pod_logs import NewLines
from workers.kinds.kubernetes.rollout import progress_of


def test_attempts_after_lost_ones_share_a_name_and_others_do_not() -> None:
    first = job_name("migrate", a_job(5))
    assert job_name("migrate", a_job(5, attempt=3, first=1)) == first
    others = [
        job_name("migrate", a_job(5, attempt=2, first=2)),
        job_name("migrate", a_job(6)),
        job_name("migrate", a_job(5, installation="there")),
    ]
    assert len({first, *others}) == 4


@pytest.mark.parametrize("prefix", ["Ünï_code!", "x" * 300, "---", "a.b"])
def test_a_name_is_one_that_the_api_takes(prefix: str) -> None:
    name = job_name(prefix, a_job(10**12, attempt=99, first=99))
    assert len(name) <= 63 - len("-abcde")
    assert name.replace("-", "").isalnum()
    assert name.isascii()
    assert not name.startswith("-")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kind": "Pod"}, "the manifest is of Pod in batch/v1; it must be of Job in batch/v1"),
        ({"apiVersion": "batch/v1beta1"}, "of Job in batch/v1beta1"),
        ({"spec": {}}, "missing required field `template`"),
        ({"spec": {"template": {"spec": {"containers": []}}}}, "length >= 1"),
        ({"metadata": {"namespace": "b"}}, "of namespace 'b', the job of 'a'"),
        ({"metadata": {"generateName": 5}}, r"\$.metadata.generateName"),
        ({"metadata": {"labels": ["a"]}}, r"\$.metadata.labels"),
    ],
)
def test_a_manifest_of_something_else(change: dict[str, Any], words: str) -> None:
    params = {"manifest": manifest() | change, "namespace": "a"}
    with pytest.raises(msgspec.ValidationError, match=words):
        msgspec.convert(params, KubernetesJobParams)


def without_values() -> dict[str, Any]:
    """A manifest of which much is empty, as YAML leaves it: `labels:` and nothing behind it."""
    container = {"name": "main", "image": "busybox", "env": None}
    pod = {"containers": [container], "initContainers": None}
    template = {"metadata": {"labels": None, "annotations": None}, "spec": pod}
    return {
        "metadata": {"name": None, "labels": None, "annotations": None},
        "spec": {"template": template},
    }


@pytest.mark.parametrize("change", [{}, {"metadata": None}])
def test_a_manifest_with_empty_values(change: dict[str, Any]) -> None:
    own = without_values() | change
    msgspec.convert({"manifest": own}, KubernetesJobParams)
    made = own_manifest(own, a_job(5))
    assert made["metadata"]["name"].startswith("migrate-5-1-")
    assert made["metadata"]["labels"] == labels(a_job(5))
    assert made["spec"]["template"]["metadata"]["labels"] == labels(a_job(5))
    (container,) = made["spec"]["template"]["spec"]["containers"]
    assert {"name": "TP_JOB_ID", "value": "5"} in container["env"]
    msgspec.convert({"name": "web", "image": "web:1", "manifest": own}, KubernetesDeploymentParams)
    applied = to_apply(DeploymentChange("web", "web:1", None, 2, own), a_job(5), None)
    assert applied.body["metadata"]["name"] == "web"
    assert applied.body["spec"]["template"]["spec"]["containers"][0]["image"] == "web:1"


def test_an_empty_template_of_pods() -> None:
    own = without_values()
    own["spec"]["template"]["metadata"] = None
    made = own_manifest(own, a_job(5))
    assert made["spec"]["template"]["metadata"]["labels"] == labels(a_job(5))


@pytest.mark.parametrize("part", ["containers", "initContainers"])
def test_a_container_without_a_name(part: str) -> None:
    pod = {"containers": [{"name": "main"}], part: [{"image": "busybox"}]}
    params = {"manifest": {"spec": {"template": {"spec": pod}}}}
    with pytest.raises(msgspec.ValidationError, match="missing required field `name`"):
        msgspec.convert(params, KubernetesJobParams)


def test_a_manifest_of_another_name() -> None:
    own = {"metadata": {"name": "api"}, **manifest()}
    params = {"name": "web", "image": "web:1", "manifest": own}
    with pytest.raises(msgspec.ValidationError, match="of 'api', the job of 'web'"):
        msgspec.convert(params, KubernetesDeploymentParams)


def problems(container: dict[str, Any]) -> list[Misplaced]:
    """What is wrong with the templates of a container."""
    own = manifest()
    own["spec"]["template"]["spec"]["containers"] = [container]
    return list(KubernetesJob.surroundings["manifest"].problems(own, {}))


def test_templates_in_commands_are_data_or_refused() -> None:
    value = "${{ run.x }}"
    assert not problems({"name": value, "image": value, "command": ["migrate", "--to", value]})
    assert not problems({"args": ["--to", value], "env": [{"name": "A", "value": value}]})
    (problem,) = problems({"command": ["sh", "-c", f"echo {value}"]})
    assert problem.path[-2:] == ("command", 2)
    (problem,) = problems({"command": ["sh"], "args": ["-c", f"echo {value}"]})
    assert problem.path[-2:] == ("args", 1)
    (problem,) = problems({"livenessProbe": {"exec": {"command": ["bash", "-c", value]}}})
    assert problem.path[-2:] == ("command", 2)


def stamped(*lines: tuple[int, str]) -> bytes:
    """A log, whose lines were written at these nanoseconds."""
    return "".join(f"2026-01-02T03:04:05.{at:09d}Z {text}\n" for at, text in lines).encode()


def test_a_reading_goes_on_after_the_last_line() -> None:
    first = NewLines("> ", 0, 0)
    assert first.feed(stamped((1, "a"), (2, "b"), (2, "c"))[:-3]) == "> a\n> b\n"
    again = NewLines("> ", first.last_ns, first.at_last)
    assert again.feed(stamped((1, "a"), (2, "b"), (2, "c"), (3, "d"))) == "> c\n> d\n"


def test_zones_and_times_out_of_order() -> None:
    first = NewLines("", 0, 0)
    text = b"2026-01-02T05:04:05.5+02:00 a\n2026-01-02T03:04:05.25Z b\n2026-01-02T03:04:06Z c\n"
    assert first.feed(text) == "a\nb\nc\n"
    assert NewLines("", first.last_ns, first.at_last).feed(text) == ""


def test_a_line_without_end_comes_in_pieces_and_the_last_one_gets_an_end() -> None:
    lines = NewLines("> ", 0, 0)
    line = stamped((1, "x" * 100_000))[:-1]
    text = "".join(lines.feed(line[at : at + 1000]) for at in range(0, len(line), 1000))
    text += lines.finish()
    assert text == "> " + "x" * 100_000 + "\n"


def test_what_is_no_text_and_has_no_time() -> None:
    lines = NewLines("", 0, 0)
    assert lines.feed(b"\xff\xfe no time\n") == "\ufffd\ufffd no time\n"


def test_fields_of_a_manager() -> None:
    made = {
        "metadata": {"labels": {"a": "1", "b": "2"}, "finalizers": ["x", "y"]},
        "spec": {
            "replicas": 3,
            "template": {
                "containers": [
                    {"name": "web", "image": "web:1", "args": ["a"]},
                    {"name": "side", "image": "side:1"},
                ]
            },
        },
    }
    container: dict[str, Any] = {".": {}, "f:name": {}, "f:image": {}}
    fields = {
        "f:metadata": {"f:labels": {"f:a": {}}, "f:finalizers": {".": {}, 'v:"x"': {}}},
        "f:spec": {
            "f:gone": {},
            "f:template": {"f:containers": {'k:{"name":"web"}': container}},
        },
    }
    assert owned(made, fields) == {
        "metadata": {"labels": {"a": "1"}, "finalizers": ["x"]},
        "spec": {"template": {"containers": [{"name": "web", "image": "web:1"}]}},
    }


@pytest.mark.parametrize(
    ("generation", "status", "words", "fraction"),
    [
        (2, (1, 3, 3, 3), "the controller has not seen the change yet", 0.0),
        (1, (1, 4, 1, 3), "1 of 3 replicas are updated", 1 / 3),
        (1, (1, 4, 3, 3), "1 old replicas are still there", 1.0),
        (1, (1, 3, 3, 2), "2 of 3 replicas are available", 2 / 3),
        (1, (1, 3, 3, 3), "all 3 replicas are updated", 1.0),
    ],
)
def test_how_far_a_rollout_is(
    generation: int, status: tuple[int, int, int, int], words: str, fraction: float
) -> None:
    observed, replicas, updated, available = status
    deployment = msgspec.convert(
        {
            "metadata": {"name": "web", "generation": generation},
            "spec": {"replicas": 3},
            "status": {
                "observedGeneration": observed,
                "replicas": replicas,
                "updatedReplicas": updated,
                "availableReplicas": available,
            },
        },
        Deployment,
    )
    progress = progress_of(deployment)
    assert (progress.words, progress.fraction) == (f"web: {words}", fraction)
    assert progress.done == words.startswith("all")
