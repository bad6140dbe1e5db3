"""Owns one attempt's change of a Deployment: applies it, follows its rollout, and may undo it."""

import math
from collections.abc import Mapping
from copy import deepcopy
from http import HTTPStatus
from typing import Any, Final, NoReturn

import msgspec
import trio
from msgspec import Raw

from control.model import kinds, limits
from control.model.errors import JobFailed
from control.model.kinds import Reporter, Result
from workers.kinds.kubernetes import ownership
from workers.kinds.kubernetes.api import (
    APPLY_PATCH,
    DEPLOYMENTS,
    JSON_PATCH,
    PODS,
    REPLICA_SETS,
    ApiRefusal,
    KubernetesApi,
)
from workers.kinds.kubernetes.deployment_change import (
    AppliedChange,
    DeploymentChange,
    revision_of,
    to_apply,
)
from workers.kinds.kubernetes.groups import first_failure
from workers.kinds.kubernetes.objects import Deployment, Pod, ReplicaSet, read
from workers.kinds.kubernetes.pod_states import cannot_start, failure
from workers.kinds.kubernetes.rollout import progress_of
from workers.kinds.kubernetes.watch import ObjectWatch
from workers.trouble import WorkerTrouble

_object: Final = msgspec.json.Decoder(dict[str, Any])
_deployment: Final = msgspec.json.Decoder(Deployment)
_HASH: Final = "pod-template-hash"  # A label of the pods of one revision.
# The second: of a JSON patch whose `test` fails.
_CHANGED_SINCE: Final = frozenset({HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY})


class DeploymentOutput(msgspec.Struct, frozen=True, kw_only=True):
    """The output of a job of this kind. `revision_before`: 0 where there was no Deployment."""

    namespace: str
    name: str
    revision: int
    revision_before: int
    container: str
    image: str
    replicas: int


class _Superseded(JobFailed):
    """The Deployment is not what this attempt made it any more: there is nothing to undo."""


class DeploymentAttempt:
    """One change, for one attempt."""

    def __init__(
        self, api: KubernetesApi, job: kinds.Job, change: DeploymentChange, report: Reporter
    ) -> None:
        self._api = api
        self._job = job
        self._change = change
        self._report = report

    async def run(self, rollout_s: float | None, *, undo: bool) -> Result:
        """Returns the rollout's last state, or raises JobFailed.

        `rollout_s`: how long it may take; None: as long as the Deployment itself allows.
        """
        applied = to_apply(self._change, self._job, await self._existing())
        after = read(_deployment, await self._apply(applied.body))
        where = f"{self._api.namespace}/{self._change.name}"
        await self._note(f"applied {self._change.image} to the Deployment {where}")
        try:
            with first_failure():
                done = await self._follow(applied, after, rollout_s)
        except _Superseded:
            raise
        except JobFailed as problem:
            if undo:
                undone = await self._undo(applied)
                raise JobFailed(f"{problem}; {undone}") from problem
            raise
        except BaseException:
            if undo:
                await self._undo_cancelled(applied)
            raise
        output = DeploymentOutput(
            namespace=self._api.namespace,
            name=self._change.name,
            revision=revision_of(done.metadata.annotations),
            revision_before=applied.revision_before,
            container=applied.container,
            image=self._change.image,
            replicas=done.spec.replicas,
        )
        return Result(output=Raw(msgspec.json.encode(output)))

    async def _existing(self) -> dict[str, Any] | None:
        try:
            answer = await self._api.call("get", DEPLOYMENTS, self._change.name)
        except ApiRefusal as refusal:
            if refusal.status == HTTPStatus.NOT_FOUND:
                return None
            raise
        return read(_object, answer)

    async def _apply(self, body: Mapping[str, Any]) -> bytes:
        return await self._api.call(
            "patch",
            DEPLOYMENTS,
            self._change.name,
            query={"fieldManager": ownership.MANAGER, "force": "true"},
            body=msgspec.json.encode(body),
            content_type=APPLY_PATCH,
        )

    async def _follow(
        self, applied: AppliedChange, deployment: Deployment, rollout_s: float | None
    ) -> Deployment:
        """Until all is rolled out; raises JobFailed, maybe in a group."""
        selector = {"fieldSelector": f"metadata.name={self._change.name}"}
        watch = ObjectWatch(self._api, DEPLOYMENTS, Deployment, selector)
        seen, changes = trio.open_memory_channel[Mapping[str, Deployment]](0)
        noted = ""
        limit_s = math.inf if rollout_s is None else rollout_s
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch.run, seen, self._note)
            with trio.move_on_after(limit_s):
                async for there in changes:
                    deployment = self._unchanged(there, applied, deployment)
                    progress = progress_of(deployment)
                    await self._report.progress(progress.fraction)
                    if progress.failed:
                        await self._fail(progress.words, deployment)
                    if progress.words != noted:
                        noted = progress.words
                        await self._note(noted)
                    if progress.done:
                        nursery.cancel_scope.cancel()
                        return deployment
            await self._fail(f"not rolled out after {limit_s:g} s: {noted}", deployment)
        raise AssertionError("the nursery's body returns or raises")

    def _unchanged(
        self, there: Mapping[str, Deployment], applied: AppliedChange, before: Deployment
    ) -> Deployment:
        """The Deployment as it is now, if it still is to be what this job made it."""
        name = self._change.name
        now = there.get(name)
        if now is None or now.metadata.uid != before.metadata.uid:
            raise _Superseded(f"the Deployment {name} was deleted during its rollout")
        if _image(now, applied.container) != _image(before, applied.container):
            image = self._change.image
            raise _Superseded(f"the Deployment {name} was changed during its rollout of {image}")
        return now

    async def _fail(self, words: str, deployment: Deployment) -> NoReturn:
        """Raise JobFailed with what is wrong with a pod of the new revision, if one says so."""
        try:
            trouble = await self._trouble(deployment)
        except (JobFailed, WorkerTrouble) as error:
            trouble = f"why is not known: {error}"
        raise JobFailed(f"{words}; {trouble}" if trouble else words)

    async def _trouble(self, deployment: Deployment) -> str | None:
        sets = await self._sets(deployment)
        newest = sets.get(revision_of(deployment.metadata.annotations))
        if newest is None:
            return None
        selector = {"labelSelector": f"{_HASH}={newest.metadata.labels.get(_HASH, '')}"}
        pods = await ObjectWatch(self._api, PODS, Pod, selector).list()
        for pod in pods.values():
            if (why := cannot_start(pod)) is not None:
                return why
            if (problem := failure(pod)) is not None:
                return problem.words
        return None

    async def _sets(self, deployment: Deployment) -> Mapping[int, ReplicaSet]:
        """The Deployment's revisions that are still there, by their numbers."""
        labels = deployment.spec.selector.match_labels
        selector = {"labelSelector": ",".join(f"{name}={its}" for name, its in labels.items())}
        sets = await ObjectWatch(self._api, REPLICA_SETS, ReplicaSet, selector).list()
        return {
            revision_of(each.metadata.annotations): each
            for each in sets.values()
            if any(owner.uid == deployment.metadata.uid for owner in each.metadata.owner_references)
        }

    async def _undo_cancelled(self, applied: AppliedChange) -> None:
        with trio.move_on_after(limits.KUBERNETES_DELETE_S, shield=True) as scope:
            await self._note(await self._undo(applied))
        if scope.cancelled_caught:
            await self._note(f"could not go back to revision {applied.revision_before} in time")

    async def _undo(self, applied: AppliedChange) -> str:
        """Go back to the revision before; returns what came of it, in words."""
        try:
            return await self._put_back(applied)
        except (JobFailed, WorkerTrouble) as trouble:
            return f"could not go back to revision {applied.revision_before}: {trouble}"

    async def _put_back(self, applied: AppliedChange) -> str:
        revision = applied.revision_before
        if not revision:
            return "there is no revision before to go back to"
        deployment = await self._now()
        before = (await self._sets(deployment)).get(revision)
        if before is None:
            return f"revision {revision}, the one before, is not there any more"
        template = deepcopy(before.spec.template)
        template.get("metadata", {}).get("labels", {}).pop(_HASH, None)
        for tries_left in range(limits.KUBERNETES_TRIES - 1, -1, -1):
            if not self._is_own(deployment, applied):
                return (
                    f"the Deployment {self._change.name} is not this attempt's any more: it stays"
                )
            try:
                after = await self._replace_template(deployment, template)
            except ApiRefusal as refusal:
                if refusal.status not in _CHANGED_SINCE or not tries_left:
                    raise
                deployment = await self._now()
                continue
            if after.metadata.generation == deployment.metadata.generation:
                return f"it is what it was before (revision {revision}): there is nothing to undo"
            return f"went back to revision {revision}"
        raise AssertionError("the last try returns or raises")

    async def _now(self) -> Deployment:
        return read(_deployment, await self._api.call("get", DEPLOYMENTS, self._change.name))

    def _is_own(self, deployment: Deployment, applied: AppliedChange) -> bool:
        """Whether it is unchanged since this attempt, not even the next one."""
        marks = applied.body["metadata"]["annotations"]
        there = deployment.metadata.annotations
        return (
            all(there.get(mark) == marks[mark] for mark in (ownership.JOB, ownership.ATTEMPT))
            and _image(deployment, applied.container) == self._change.image
        )

    async def _replace_template(
        self, deployment: Deployment, template: Mapping[str, Any]
    ) -> Deployment:
        """Refused, by one of _CHANGED_SINCE, when the Deployment is not as it was read."""
        version = deployment.metadata.resource_version
        steps = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": version},
            {"op": "replace", "path": "/spec/template", "value": template},
        ]
        answer = await self._api.call(
            "patch",
            DEPLOYMENTS,
            self._change.name,
            query={"fieldManager": ownership.MANAGER},
            body=msgspec.json.encode(steps),
            content_type=JSON_PATCH,
        )
        return read(_deployment, answer)

    async def _note(self, text: str) -> None:
        await self._report.log(f"kubernetes: {text}\n")


def _image(deployment: Deployment, container: str) -> str | None:
    for each in deployment.spec.template.spec.containers:
        if each.name == container:
            return each.image
    return None
