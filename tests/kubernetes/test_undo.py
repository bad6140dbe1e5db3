"""Decides when a rollout is taken back: only while it is still that of its attempt."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from control.model.errors import JobFailed
from tests.kubernetes.cluster_runs import Log, a_job
from tests.kubernetes.scripted import PROXY_PAGE, Request, ScriptedApi, event, refuse
from workers.kinds.kubernetes.deployment_attempt import DeploymentAttempt
from workers.kinds.kubernetes.deployment_change import REVISION, DeploymentChange
from workers.kinds.kubernetes.ownership import ATTEMPT
from workers.trouble import WorkerTrouble


def template(image: str) -> dict[str, Any]:
    """Of the pods."""
    return {"spec": {"containers": [{"name": "web", "image": image}]}}


class Web:
    """A Deployment `web` that runs 1.3, whose rollouts never end. `meanwhile`: another's doing."""

    def __init__(self) -> None:
        self.metadata: dict[str, Any] = {
            "name": "web",
            "uid": "u1",
            "generation": 1,
            "annotations": {REVISION: "1"},
        }
        self.version = 1
        self.image = "web:1.3"
        self.changed_at_patch = False  # Once, just before an undo is carried out.
        self.hidden = False
        self.answers_get: Callable[[], Any] = self.object
        self.log = Log()
        self.api = ScriptedApi(self.answer)

    def object(self) -> dict[str, Any]:
        """As the API server has it."""
        metadata = self.metadata | {"resourceVersion": str(self.version)}
        return deepcopy({"metadata": metadata, "spec": {"template": template(self.image)}})

    def answer(self, request: Request) -> Any:  # noqa: ANN401 - Any JSON.
        """Answer as the API server does."""
        match request.verb, request.plural:
            case "list", "replicasets":
                owned = {
                    "name": "web-1",
                    "ownerReferences": [{"uid": "u1"}],
                    "annotations": {REVISION: "1"},
                }
                return {"items": [{"metadata": owned, "spec": {"template": template("web:1.3")}}]}
            case "list", "deployments":
                return {"items": [] if self.hidden else [self.object()]}
            case "list", _:
                return {"items": []}
            case "watch", _:
                return event(self.object())
            case "get", _:
                return self.answers_get()
            case "patch", _ if request.is_json_patch:
                self.undo(request.body)
            case "patch", _:
                self.metadata["annotations"] |= request.body["metadata"]["annotations"]
                self.change("web:1.4")
        return self.object()

    def undo(self, steps: list[dict[str, Any]]) -> None:
        """Carry out a JSON patch."""
        if self.changed_at_patch:
            self.changed_at_patch = False
            self.version += 1
        for step in steps:
            if step["op"] == "test" and step["value"] != str(self.version):
                refuse(422)
            if step["op"] == "replace":
                self.change(step["value"]["spec"]["containers"][0]["image"])

    def change(self, image: str) -> None:
        """Another client sets another image."""
        self.image = image
        self.version += 1
        self.metadata["generation"] += 1

    async def roll_out(self, seconds: float | None = 5) -> str:
        """How the rollout of 1.4 fails."""
        change = DeploymentChange("web", "web:1.4", "web", None, None)
        attempt = DeploymentAttempt(self.api, a_job(2), change, self.log)
        with pytest.raises(JobFailed) as caught:
            await attempt.run(seconds, undo=True)
        return str(caught.value)


@pytest.fixture
def web() -> Web:
    return Web()


async def during_rollout(web: Web) -> None:
    """Return when it has begun and waits."""
    await web.log.until("applied")
    await trio.testing.wait_all_tasks_blocked()


async def test_a_rollout_that_takes_too_long_is_taken_back(
    autojump_clock: MockClock, web: Web
) -> None:
    assert "went back to revision 1" in await web.roll_out()
    assert web.image == "web:1.3"


async def test_a_status_that_changes_meanwhile_does_not_hinder_it(
    autojump_clock: MockClock, web: Web
) -> None:
    web.changed_at_patch = True
    assert "went back to revision 1" in await web.roll_out()
    assert web.image == "web:1.3"


async def test_the_newer_image_of_another_stays(autojump_clock: MockClock, web: Web) -> None:
    words: list[str] = []

    async def run() -> None:
        words.append(await web.roll_out(None))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await web.log.until("applied")
        web.change("web:1.5")
    assert "was changed during its rollout of web:1.4" in words[0]
    assert web.image == "web:1.5"


async def test_what_another_created_anew_stays(autojump_clock: MockClock, web: Web) -> None:
    web.hidden = True
    assert await web.roll_out() == "the Deployment web was deleted during its rollout"
    assert web.image == "web:1.4"


@pytest.mark.parametrize("image", ["web:1.4", "web:1.5"])
async def test_a_change_that_was_not_seen_yet_stays(
    autojump_clock: MockClock, web: Web, image: str
) -> None:
    """As the last change is not in the watch: it was broken, or the change has just come."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(web.roll_out, None)
        await during_rollout(web)
        web.change(image)
        if image == "web:1.4":  # The attempt after this one, which has lost its lease.
            web.metadata["annotations"][ATTEMPT] = "2"
        nursery.cancel_scope.cancel()
    assert web.image == image
    assert "is not this attempt's any more" in web.log.text


def out_of_descriptors() -> None:
    raise WorkerTrouble("too many open files")


@pytest.mark.parametrize("answer", [out_of_descriptors, lambda: PROXY_PAGE])
async def test_an_undo_that_fails_does_not_hide_the_cancellation(
    autojump_clock: MockClock, web: Web, answer: Callable[[], Any]
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(web.roll_out, None)
        await during_rollout(web)
        web.answers_get = answer
        nursery.cancel_scope.cancel()
    assert "could not go back to revision 1: " in web.log.text
