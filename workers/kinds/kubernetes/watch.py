"""Owns how an attempt sees objects change, over lost connections and forgotten versions.

A watch is a list and then its changes. It goes on where it was when a connection is lost, and
begins again with a list when the API server no longer has the changes since then (410 Gone).
"""

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Final, Generic, TypeVar

import msgspec
import trio

from control.model import limits
from workers.kinds.kubernetes.api import ApiRefusal, ApiUnreachable, KubernetesApi, Resource
from workers.kinds.kubernetes.objects import (
    ApiStatus,
    BatchJob,
    Bookmark,
    Deployment,
    ListMetadata,
    ObjectEvent,
    Pod,
    ReplicaSet,
    WatchEvent,
    read,
)

T = TypeVar("T", BatchJob, Pod, Deployment, ReplicaSet, ObjectEvent)
Note = Callable[[str], Awaitable[None]]
# The second: of a version that an API server restored from a backup has not reached yet.
_EXPIRED: Final = frozenset({HTTPStatus.GONE, HTTPStatus.GATEWAY_TIMEOUT})
_event: Final = msgspec.json.Decoder(WatchEvent)
_status: Final = msgspec.json.Decoder(ApiStatus)
_versioned: Final = msgspec.json.Decoder(Bookmark)


class _List(msgspec.Struct, Generic[T], frozen=True):
    items: list[T]
    metadata: ListMetadata = ListMetadata()


class ObjectWatch(Generic[T]):
    """All objects of a kind that a selector matches, by name, as they are and become."""

    def __init__(
        self, api: KubernetesApi, resource: Resource, kind: type[T], selector: Mapping[str, str]
    ) -> None:
        """`selector`: of the query, such as `labelSelector`."""
        self._api = api
        self._resource = resource
        self._selector = dict(selector)
        self._decoder: msgspec.json.Decoder[T] = msgspec.json.Decoder(kind)
        self._lists: msgspec.json.Decoder[_List[T]] = msgspec.json.Decoder(
            _List[kind]  # type: ignore[valid-type]
        )
        self._objects: dict[str, T] = {}
        self._version: str | None = None  # What is in `_objects`; None: it must be listed.
        self._pause_s = limits.KUBERNETES_PAUSE_MIN_S
        self._lost = False  # The connection, and that was noted.

    async def list(self) -> Mapping[str, T]:
        """All of them as they are now. Raises ApiRefusal, ApiUnreachable."""
        answer = await self._api.call("list", self._resource, query=self._selector)
        listed = read(self._lists, answer)
        self._objects = {each.metadata.name: each for each in listed.items}
        self._version = listed.metadata.resource_version
        return dict(self._objects)

    async def run(self, seen: trio.MemorySendChannel[Mapping[str, T]], note: Note) -> None:
        """Send all of them at first, and after each change, until cancelled.

        `note` gets a sentence when the connection is lost. Raises ApiRefusal for what is no passing
        trouble.
        """
        while True:
            try:
                if self._version is None:
                    await seen.send(await self.list())
                await self._follow(seen)
            except ApiRefusal as refusal:
                if refusal.status in _EXPIRED:
                    self._version = None
                elif not refusal.passing:
                    raise
            except ApiUnreachable as trouble:
                if not self._lost:
                    await note(f"{trouble}; trying again")
                self._lost = True
            await trio.sleep(self._pause_s)
            self._pause_s = min(2 * self._pause_s, limits.KUBERNETES_PAUSE_MAX_S)

    async def _follow(self, seen: trio.MemorySendChannel[Mapping[str, T]]) -> None:
        """Send what changes, until this connection ends. Raises ApiRefusal, ApiUnreachable."""
        query = {
            **self._selector,
            "watch": "true",
            "resourceVersion": self._version or "",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(limits.KUBERNETES_WATCH_S),
        }
        silence_s = limits.KUBERNETES_WATCH_S + limits.KUBERNETES_ANSWER_S
        async with self._api.open(
            "watch", self._resource, query=query, silence_s=silence_s
        ) as pieces:
            self._pause_s, self._lost = limits.KUBERNETES_PAUSE_MIN_S, False
            begun = b""
            async for piece in pieces:
                *lines, begun = (begun + piece).split(b"\n")
                for line in lines:
                    if self._apply(read(_event, line)):
                        await seen.send(dict(self._objects))

    def _apply(self, event: WatchEvent) -> bool:
        """Take in one event; returns whether an object has changed."""
        if event.type == "ERROR":
            status = read(_status, event.object)
            raise ApiRefusal(f"the API server ended a watch: {status.message}", status.code)
        self._version = read(_versioned, event.object).metadata.resource_version
        if event.type == "BOOKMARK":
            return False
        changed = read(self._decoder, event.object)
        if event.type == "DELETED":
            self._objects.pop(changed.metadata.name, None)
        else:
            self._objects[changed.metadata.name] = changed
        return True
