"""Decides what a definition is said to need: other pipelines, and workers."""

from msgspec import Raw

from control.core.pipelines.requirements import kind_warnings, targets_of
from control.model.pipelines import TriggerSpec
from tests.services.plane import job, pipeline

CALL = job("call", kind="Pipeline", params=Raw(b'{"name":"child"}'))
ANY = job("any", kind="Pipeline", params=Raw(b'{"name":"${{ run.name }}"}'))


def test_targets_are_those_of_triggers_and_of_jobs() -> None:
    found = targets_of(pipeline("p", job("a"), CALL, ANY, triggers=(TriggerSpec(pipeline="next"),)))
    assert found == [("triggers[0].pipeline", "next"), ("jobs[1].params.name", "child")]


def test_a_kind_that_no_worker_has_is_a_warning() -> None:
    made = pipeline("p", job("a"), job("b", kind="K8S/Job"), job("c", kind="K8S/Job"), CALL)
    assert kind_warnings(made, []) == []
    assert kind_warnings(made, [{"Sleep": ("1.0.0",)}, {"K8S/Job": ("1.0.0",)}]) == []
    (warning,) = kind_warnings(made, [{"Sleep": ("1.0.0",), "K8S/Job": ("0.9.0",)}])
    assert warning.path == "jobs[1].kind"
    assert warning.message == "no connected worker executes K8S/Job 1.0.0: such jobs wait for one"
