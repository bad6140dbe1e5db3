"""Owns one attempt's Job in the cluster: starts or adopts it, follows it, and deletes it."""

import math
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, Literal

import msgspec
import trio
from msgspec import Raw

from control.model import kinds, limits
from control.model.errors import JobFailed
from control.model.kinds import Reporter, Result
from workers.kinds.kubernetes import ownership
from workers.kinds.kubernetes.api import (
    JOBS,
    MERGE_PATCH,
    PODS,
    ApiRefusal,
    KubernetesApi,
)
from workers.kinds.kubernetes.events import with_reason
from workers.kinds.kubernetes.groups import first_failure
from workers.kinds.kubernetes.job_end import ended, failed, has_no_pod, output
from workers.kinds.kubernetes.objects import BatchJob, Pod, read
from workers.kinds.kubernetes.pods import Pods
from workers.kinds.kubernetes.watch import ObjectWatch
from workers.trouble import WorkerTrouble

Delete = Literal["on_success", "always", "never"]
_job: Final = msgspec.json.Decoder(BatchJob)
_CONTROLLER: Final = "batch.kubernetes.io/controller-uid"  # A label of a Job's pods.


class JobAttempt:
    """One Job, for one attempt."""

    def __init__(
        self,
        api: KubernetesApi,
        job: kinds.Job,
        manifest: Mapping[str, Any],
        report: Reporter,
        start_s: float,
    ) -> None:
        """`start_s`: how long there may be no pod, and a pod may be unable to start."""
        self._api = api
        self._job = job
        self._report = report
        self._start_s = start_s
        self._manifest = ownership.own_manifest(manifest, job)
        self._name: str = self._manifest["metadata"]["name"]
        self._may_exist = True  # An answer may be lost on its way.

    async def run(self, delete: Delete) -> Result:
        """Returns the pod's last state, or raises JobFailed; nothing of it runs afterwards."""
        is_over = False
        try:
            with first_failure():
                job, pods = await self._follow(await self._begin())
            is_over = True
        finally:
            if not is_over and self._may_exist:
                await self._stop()
        problem = failed(job, pods)
        if delete == "always" or (delete == "on_success" and problem is None):
            try:
                await self._delete()
            except (JobFailed, WorkerTrouble) as trouble:
                await self._note(f"the Job {self._name} stays: {trouble}")
        if problem is not None:
            raise JobFailed(problem.words, exit_code=problem.exit_code)
        return Result(output=Raw(msgspec.json.encode(output(job, pods))), exit_code=0)

    async def _begin(self) -> BatchJob:
        """Create the Job, or adopt that of an attempt whose worker was lost."""
        while True:
            try:
                body = msgspec.json.encode(self._manifest)
                job = read(_job, await self._api.call("create", JOBS, body=body))
            except ApiRefusal as refusal:
                if refusal.status != HTTPStatus.CONFLICT:
                    self._may_exist = refusal.may_be_done
                    raise
                existing = await self._get()
                adopted = None if existing is None else await self._adopt(existing)
                if adopted is not None:
                    return adopted
            else:
                await self._note(f"created the Job {self._api.namespace}/{self._name}")
                return job

    async def _adopt(self, job: BatchJob) -> BatchJob | None:
        """Take over a Job of ours; None: it changed meanwhile or is gone. Raises JobFailed."""
        owner = ownership.attempt_of(job.metadata)
        if not ownership.is_of(job.metadata, self._job) or owner > self._job.attempt:
            raise JobFailed(
                f"there is a Job {self._name} in namespace {self._api.namespace} already, and "
                "it is not of this attempt; delete it"
            )
        if job.metadata.deletion_timestamp is not None:  # Its attempt was stopped, not lost.
            await self._until_gone(job)
            return None
        if owner == self._job.attempt:  # The answer to its creation was lost on the way.
            return job
        marks = {
            "resourceVersion": job.metadata.resource_version,
            "labels": {ownership.ATTEMPT: str(self._job.attempt)},
        }
        body = msgspec.json.encode({"metadata": marks})
        try:
            answer = await self._api.call(
                "patch", JOBS, self._name, body=body, content_type=MERGE_PATCH
            )
        except ApiRefusal as refusal:
            if refusal.status in {HTTPStatus.CONFLICT, HTTPStatus.NOT_FOUND}:
                return None
            raise
        await self._note(
            f"adopted the Job {self._api.namespace}/{self._name}, which attempt {owner} has "
            "left running"
        )
        return read(_job, answer)

    async def _follow(self, job: BatchJob) -> tuple[BatchJob, Sequence[Pod]]:
        """Until the Job has ended and all logs are read. Raises JobFailed, maybe in a group."""
        selector = {"labelSelector": f"{_CONTROLLER}={job.metadata.uid}"}
        watch = ObjectWatch(self._api, PODS, Pod, selector)
        template = job.spec.template.spec
        several = (
            max(job.spec.completions or 1, job.spec.parallelism or 1) > 1
            or len(template.init_containers) + len(template.containers) > 1
        )
        pods = Pods(self._api, self._report, self._start_s, several=several)
        async with trio.open_nursery() as logs:
            async with trio.open_nursery() as watches:
                seen, changes = trio.open_memory_channel[Mapping[str, Pod]](0)
                watches.start_soon(watch.run, seen, self._note)
                watches.start_soon(pods.run, changes, logs)
                job = await self._until_ended(job)
                watches.cancel_scope.cancel()
            # What the watch of pods has not seen yet.
            await pods.take(await watch.list(), logs)
            logs.cancel_scope.deadline = trio.current_time() + limits.KUBERNETES_LOGS_END_S
            pods.end()
        if logs.cancel_scope.cancelled_caught:
            await self._note("the rest of the logs could not be read in time")
        return job, pods.last()

    async def _until_ended(self, job: BatchJob) -> BatchJob:
        seen, changes = trio.open_memory_channel[Mapping[str, BatchJob]](0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch().run, seen, self._note)
            since = math.inf  # When it was seen without a pod first.
            while True:
                jobs = None
                with trio.move_on_at(since + self._start_s):
                    jobs = await changes.receive()
                if jobs is None:
                    words = f"the Job {self._name} has no pod"
                    words = await with_reason(self._api, job.metadata.uid, words)
                    raise JobFailed(f"{words} (for {self._start_s:g} s)")
                now = jobs.get(self._name)
                if now is None or now.metadata.uid != job.metadata.uid:
                    raise JobFailed(f"the Job {self._name} was deleted, but not by its attempt")
                owner = ownership.attempt_of(now.metadata)
                if owner != self._job.attempt:
                    raise JobFailed(f"the Job {self._name} was adopted by attempt {owner}")
                if now.spec.completions:
                    await self._report.progress(now.status.succeeded / now.spec.completions)
                if ended(now) is not None:
                    nursery.cancel_scope.cancel()
                    return now
                since = min(since, trio.current_time()) if has_no_pod(now) else math.inf

    async def _get(self) -> BatchJob | None:
        try:
            return read(_job, await self._api.call("get", JOBS, self._name))
        except ApiRefusal as refusal:
            if refusal.status == HTTPStatus.NOT_FOUND:
                return None
            raise

    async def _stop(self) -> None:
        """Delete the Job of an attempt that is not to go on, cancelled or not."""
        with trio.move_on_after(limits.KUBERNETES_DELETE_S, shield=True) as scope:
            try:
                deleted = await self._delete()
                if deleted is not None:
                    await self._until_gone(deleted)
            except (JobFailed, WorkerTrouble) as trouble:
                await self._note(f"the Job {self._name} may still run: {trouble}")
        if scope.cancelled_caught:
            await self._note(f"the Job {self._name} is being deleted and may still run")

    async def _delete(self) -> BatchJob | None:
        """Have the Job deleted after its pods, if it is this attempt's; gives what was deleted."""
        while (job := await self._get()) is not None:
            if not ownership.is_of(job.metadata, self._job):
                return None
            if ownership.attempt_of(job.metadata) != self._job.attempt:
                return None  # Another attempt has it.
            unchanged = {
                "uid": job.metadata.uid,
                "resourceVersion": job.metadata.resource_version,
            }
            options = {"propagationPolicy": "Foreground", "preconditions": unchanged}
            try:
                await self._api.call("delete", JOBS, self._name, body=msgspec.json.encode(options))
            except ApiRefusal as refusal:
                if refusal.status == HTTPStatus.CONFLICT:
                    continue  # It has changed since; maybe another attempt has adopted it.
                if refusal.status != HTTPStatus.NOT_FOUND:
                    raise
            return job
        return None

    async def _until_gone(self, job: BatchJob) -> None:
        seen, changes = trio.open_memory_channel[Mapping[str, BatchJob]](0)
        with first_failure():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch().run, seen, self._note)
                async for jobs in changes:
                    now = jobs.get(self._name)
                    if now is None or now.metadata.uid != job.metadata.uid:
                        break
                nursery.cancel_scope.cancel()

    def _watch(self) -> ObjectWatch[BatchJob]:
        selector = {"fieldSelector": f"metadata.name={self._name}"}
        return ObjectWatch(self._api, JOBS, BatchJob, selector)

    async def _note(self, text: str) -> None:
        await self._report.log(f"kubernetes: {text}\n")
