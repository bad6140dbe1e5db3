"""Decides how long a Job may be without a pod that has started, and what is said of it then."""

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from control.model.errors import JobFailed
from tests.kubernetes.cluster_runs import Log, a_job, manifest
from tests.kubernetes.scripted import Request, ScriptedApi, refuse
from workers.kinds.kubernetes.job_attempt import JobAttempt

RUNNING = {"name": "main", "state": {"running": {}}}
CREATING = {"name": "main", "state": {"waiting": {"reason": "ContainerCreating"}}}
QUOTA = "pods is forbidden: exceeded quota: small"


class Starts:
    """A cluster with one Job, and maybe a pod of it, that do not change."""

    def __init__(self, status: dict[str, Any], *containers: dict[str, Any], **spec: object) -> None:
        """`status`: of the Job. `containers`: those of its pod, if it has one."""
        self.spec = spec
        self.status = status
        self.containers = containers
        self.job: dict[str, Any] = {}
        self.may_list_events = True
        self.log = Log()

    def answer(self, request: Request) -> Any:  # noqa: ANN401 - Any JSON.
        """Answer as the API server does."""
        match request.verb, request.plural:
            case "create", _:
                metadata = request.body["metadata"] | {"uid": "j1"}
                spec = request.body["spec"] | self.spec
                self.job = {"metadata": metadata, "spec": spec, "status": self.status}
            case "list", "events":
                return self.events(request.query["fieldSelector"])
            case "list", "jobs":
                return {"items": [self.job]}
            case "list", "pods":
                return {"items": [self.pod()] if self.containers else []}
            case "watch", _:
                return {"type": "BOOKMARK", "object": {}}  # A list has said all.
            case "get", _ if not self.job:
                refuse(404)
            case "delete", _:
                self.job = {"metadata": {"name": "another"}}
        return self.job

    def pod(self) -> dict[str, Any]:
        """The only one."""
        started = any("running" in each["state"] for each in self.containers)
        status = {
            "phase": "Running" if started else "Pending",
            "containerStatuses": list(self.containers),
        }
        return {"metadata": {"name": "pod-1", "uid": "p1"}, "status": status}

    def events(self, selector: str) -> dict[str, Any]:
        """Those of the Job or of the pod."""
        if not self.may_list_events:
            refuse(403)
        reason, message = {
            "involvedObject.uid=j1": ("FailedCreate", QUOTA),
            "involvedObject.uid=p1": ("FailedMount", 'secret "nope" not found'),
        }[selector]
        older = {"type": "Warning", "reason": "Older", "lastTimestamp": "2026-01-01T00:00:00Z"}
        last = {"type": "Warning", "reason": reason, "message": message}
        last |= {"lastTimestamp": "2026-01-02T00:00:00Z"}
        normal = {"type": "Normal", "reason": "Pulling", "lastTimestamp": "2026-01-03T00:00:00Z"}
        found = [
            {"metadata": {"name": f"e{at}"}} | each for at, each in enumerate((last, older, normal))
        ]
        return {"items": found}

    async def run(self) -> str:
        """How an attempt fails, after how many seconds at most."""
        attempt = JobAttempt(ScriptedApi(self.answer), a_job(1), manifest(), self.log, 60)
        with trio.fail_after(70), pytest.raises(JobFailed) as caught:
            await attempt.run("always")
        return str(caught.value)


async def test_a_job_whose_pods_cannot_be_created_fails_in_words(autojump_clock: MockClock) -> None:
    words = await Starts({}).run()
    assert words.startswith("the Job migrate-1-1-")
    assert words.endswith(f" has no pod: FailedCreate: {QUOTA} (for 60 s)")


async def test_without_a_right_to_events_it_says_what_it_can(autojump_clock: MockClock) -> None:
    starts = Starts({})
    starts.may_list_events = False
    assert (await starts.run()).endswith(" has no pod (for 60 s)")


async def test_a_pod_whose_secret_is_missing_fails_in_words(autojump_clock: MockClock) -> None:
    words = await Starts({"active": 1}, CREATING).run()
    assert words == (
        'pod pod-1 has started no container: FailedMount: secret "nope" not found (for 60 s)'
    )


@pytest.mark.parametrize(
    "starts",
    [
        Starts({}, suspend=True),
        Starts({}, parallelism=0),
        Starts({"failed": 1}),  # The next pod comes after a pause.
        Starts({"active": 1}, RUNNING),
        Starts({"active": 1}, RUNNING, CREATING),
    ],
)
async def test_what_has_started_or_is_not_to_start_has_its_time(
    autojump_clock: MockClock, starts: Starts
) -> None:
    with pytest.raises(trio.TooSlowError):
        await starts.run()
