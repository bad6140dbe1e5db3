"""Decides what is left of a Job, and said of it, when requests for it end in an unusual way."""

from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from control.model.errors import JobFailed
from tests.kubernetes.cluster_runs import Log, a_job, manifest
from tests.kubernetes.scripted import PROXY_PAGE, Request, ScriptedApi, refuse
from workers.kinds.kubernetes.job_attempt import JobAttempt
from workers.trouble import WorkerTrouble


class OneJob:
    """A cluster with at most one Job. `instead`: what a proxy before it answers, or None."""

    def __init__(self, instead: Callable[[Request], bytes | None]) -> None:
        self.job: dict[str, Any] | None = None
        self.log = Log()
        self.api = ScriptedApi(self.answer)
        self._instead = instead

    def answer(self, request: Request) -> Any:  # noqa: ANN401 - Any JSON.
        """Answer as the API server does; a creation is carried out whatever the proxy says."""
        there = self.job
        if request.verb == "create" and there is None:
            self.job = request.body
        if (answer := self._instead(request)) is not None:
            return answer
        match request.verb, request.plural:
            case "create", _ if there is not None:
                refuse(409)
            case "list", "jobs":
                return {"items": [] if there is None else [there]}
            case "list", _:
                return {"items": []}
            case "watch", _:
                return {"type": "BOOKMARK", "object": {}}
            case "delete", _:
                self.job = None
                return {}
        return refuse(404) if self.job is None else self.job

    async def run(self) -> None:
        """Run an attempt."""
        await JobAttempt(self.api, a_job(1), manifest(), self.log, 300).run("always")


@pytest.mark.parametrize("last", [502, 403])
async def test_a_job_that_was_created_behind_an_error_is_deleted(
    autojump_clock: MockClock, last: int
) -> None:
    statuses = [502, 502, 502, last]
    cluster = OneJob(lambda request: refuse(statuses.pop(0)) if request.verb == "create" else None)
    with pytest.raises(JobFailed, match=f"refused: {last}"):
        await cluster.run()
    assert cluster.job is None


async def test_a_job_that_was_refused_at_once_is_not_looked_for(autojump_clock: MockClock) -> None:
    cluster = OneJob(lambda _: refuse(403))
    with pytest.raises(JobFailed, match="refused: 403"):
        await cluster.run()
    assert cluster.api.verbs == ["create"]


def no_descriptors(request: Request) -> None:
    """Let no connection for a deletion be opened."""
    if request.verb == "delete":
        raise WorkerTrouble("too many open files")


@pytest.mark.parametrize(
    ("instead", "words"),
    [
        (no_descriptors, "too many open files"),
        (lambda request: PROXY_PAGE if request.verb == "get" else None, "is no API server"),
    ],
)
async def test_a_deletion_that_fails_does_not_hide_the_cancellation(
    autojump_clock: MockClock, instead: Callable[[Request], bytes | None], words: str
) -> None:
    cluster = OneJob(instead)
    with trio.move_on_after(5) as scope:
        await cluster.run()
    assert scope.cancelled_caught
    assert "may still run: " in cluster.log.text
    assert words in cluster.log.text
