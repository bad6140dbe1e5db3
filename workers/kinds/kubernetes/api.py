"""Owns an attempt's connection to an API server: its requests, and in words what became of them."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from http import HTTPStatus
from typing import Any, Final, Literal, NamedTuple, Self
from urllib.parse import quote

import httpcore
import httpx
import msgspec
import trio

from control.model import limits
from control.model.errors import JobFailed
from control.model.worker.settings import KubernetesTable
from workers.kinds.http import describe_failure
from workers.kinds.keepalive import KEEPALIVE
from workers.kinds.kubernetes.credentials import ClusterCredentials, load
from workers.kinds.kubernetes.objects import ApiStatus
from workers.trouble import WorkerTrouble, of_exhaustion

Verb = Literal["get", "list", "watch", "create", "patch", "delete"]
_METHODS: Final = {"create": "POST", "patch": "PATCH", "delete": "DELETE"}
_JSON: Final = "application/json"
JSON_PATCH: Final = "application/json-patch+json"
MERGE_PATCH: Final = "application/merge-patch+json"
APPLY_PATCH: Final = "application/apply-patch+yaml"  # JSON is YAML.
_PASSING: Final = frozenset({429, 500, 502, 503, 504})
_FINAL: Final = frozenset({400, 403, 405, 413, 415, 422})  # The same again would be refused again.
_LOADING: Final = trio.CapacityLimiter(4)
_status: Final = msgspec.json.Decoder(ApiStatus)


class Resource(NamedTuple):
    """A kind of object, as the API's paths and its roles name it."""

    root: str
    plural: str


JOBS: Final = Resource("apis/batch/v1", "jobs")
PODS: Final = Resource("api/v1", "pods")
DEPLOYMENTS: Final = Resource("apis/apps/v1", "deployments")
EVENTS: Final = Resource("api/v1", "events")
REPLICA_SETS: Final = Resource("apis/apps/v1", "replicasets")


class ApiRefusal(JobFailed):
    """The API server refused a request. `status` is its HTTP status.

    `may_be_done`: whether it may have been carried out all the same, by this try or one before it.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message, final=status in _FINAL)
        self.status = status
        self.may_be_done = self.passing

    @property
    def passing(self) -> bool:
        """Whether the same request may succeed a little later."""
        return self.status in _PASSING


class ApiUnreachable(JobFailed):
    """The API server cannot be reached, or the connection broke."""


class KubernetesApi:
    """One API server and one namespace, for one attempt. `async with` closes what it has opened."""

    def __init__(
        self,
        credentials: ClusterCredentials,
        namespace: str,
        renew: Callable[[], Awaitable[ClusterCredentials]],
    ) -> None:
        self.server = credentials.server
        self.namespace = namespace
        self._renew = renew
        self._take(credentials)
        self._client = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(
                verify=credentials.tls,
                proxy=credentials.proxy,
                # Logs and watches are the bound.
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=4),
                socket_options=list(KEEPALIVE),
            ),
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        with trio.move_on_after(limits.ACK_S, shield=True):
            await self._client.aclose()

    async def call(
        self,
        verb: Verb,
        resource: Resource,
        name: str = "",
        *,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content_type: str = _JSON,
    ) -> bytes:
        """One request and its answer; again after a pause when it failed for a passing reason.

        So a request must be one that may be carried out twice. Raises ApiRefusal, ApiUnreachable.
        """
        pause_s = limits.KUBERNETES_PAUSE_MIN_S
        may_be_done = False
        for tries_left in range(limits.KUBERNETES_TRIES - 1, -1, -1):
            try:
                async with self.open(
                    verb, resource, name, query=query, body=body, content_type=content_type
                ) as pieces:
                    return b"".join([piece async for piece in pieces])
            except ApiUnreachable:
                may_be_done = True
                if not tries_left:
                    raise
            except ApiRefusal as refusal:
                refusal.may_be_done = may_be_done = may_be_done or refusal.passing
                if not (refusal.passing and tries_left):
                    raise
            await trio.sleep(pause_s)
            pause_s *= 2
        raise AssertionError("the last try returns or raises")

    @asynccontextmanager
    async def open(
        self,
        verb: Verb,
        resource: Resource,
        name: str = "",
        *,
        part: str = "",
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content_type: str = _JSON,
        silence_s: float | None = limits.KUBERNETES_ANSWER_S,
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """One request and the pieces of its answer, which may be silent for `silence_s`.

        Raises ApiRefusal, ApiUnreachable, also for what happens while the answer is read.
        """
        path = "/".join(
            quote(each, safe="")
            for each in ("namespaces", self.namespace, resource.plural, name, part)
            if each
        )
        url = f"{self.server}/{resource.root}/{path}"
        timeout = httpx.Timeout(
            limits.KUBERNETES_ANSWER_S, connect=limits.KUBERNETES_CONNECT_S, read=silence_s
        )
        try:
            async with AsyncExitStack() as stack:
                for renewed in (False, True):
                    request = self._client.build_request(
                        _METHODS.get(verb, "GET"),
                        url,
                        params=query,
                        content=body,
                        headers={**self._headers, "content-type": content_type},
                        timeout=timeout,
                        extensions=self._extensions | {"trace": _Handshake()},
                    )
                    response = await self._client.send(request, stream=True)
                    stack.push_async_callback(response.aclose)
                    if response.status_code != HTTPStatus.UNAUTHORIZED or renewed:
                        break
                    await response.aclose()  # Its token may have expired.
                    self._take(await self._renew())
                if response.is_error:
                    raise self._refusal(verb, resource, part, response, await response.aread())
                pieces = response.aiter_bytes()
                stack.push_async_callback(_end, response, pieces)
                yield pieces
        except httpx.HTTPError as error:
            if trouble := of_exhaustion(error):
                raise WorkerTrouble(f"no connection could be opened: {trouble}") from error
            reason = describe_failure(error)
            msg = f"the API server {self.server} cannot be reached: {reason}"
            raise ApiUnreachable(msg) from error

    def _take(self, credentials: ClusterCredentials) -> None:
        self._headers = {"accept": _JSON, "user-agent": "taskplane"}
        if credentials.authorization is not None:
            self._headers["authorization"] = credentials.authorization
        named = credentials.server_name
        self._extensions: dict[str, Any] = {} if named is None else {"sni_hostname": named}

    def _refusal(
        self, verb: Verb, resource: Resource, part: str, response: httpx.Response, body: bytes
    ) -> ApiRefusal:
        """The API server's own words, and before them what was asked of it."""
        try:
            message = _status.decode(body).message
        except (msgspec.DecodeError, UnicodeError):  # Something between here and there answered.
            message = ""
        status = response.status_code
        message = message or f"{status} {response.reason_phrase}"
        what = f"{verb} {resource.plural}{part and '/'}{part} in namespace {self.namespace}"
        match status:
            case HTTPStatus.UNAUTHORIZED:
                words = f"the API server {self.server} does not accept the worker's credentials"
            case HTTPStatus.FORBIDDEN:
                words = f"the worker's credentials may not {what}"
            case _:
                words = f"the API server refused to {what}"
        return ApiRefusal(f"{words}: {message}", status)


class _Handshake:
    """Closes a connection whose TLS handshake is cancelled, which httpcore does not."""

    def __init__(self) -> None:
        self._stream: httpcore.AsyncNetworkStream | None = None

    async def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        """Take in what httpcore says of a request."""
        if event == "connection.connect_tcp.complete":
            self._stream = info["return_value"]
        elif event == "connection.start_tls.failed" and self._stream is not None:
            with trio.move_on_after(limits.ACK_S, shield=True):
                await self._stream.aclose()


async def _end(response: httpx.Response, pieces: AsyncIterator[bytes]) -> None:
    """Close an answer of which not all was read.

    Reading from a closed connection ends httpx's generators in order; otherwise they would be left
    to the garbage collector.
    """
    with (
        trio.move_on_after(limits.ACK_S, shield=True),
        suppress(httpx.HTTPError, httpx.StreamError),
    ):
        await response.aclose()
        async for _ in pieces:
            pass


async def connect(
    allowed: KubernetesTable, context: str | None, namespace: str | None
) -> KubernetesApi:
    """The cluster and namespace that a job asks for, or else the worker's own ones.

    Raises JobFailed for what this worker's config does not allow, and without usable credentials.
    """
    if context is None and allowed.contexts:
        context = allowed.contexts[0]
    _check("context", context, allowed.contexts)

    async def renew() -> ClusterCredentials:
        # Abandoned when cancelled: a kubeconfig's plugin may wait for ever. It only reads.
        with trio.move_on_after(limits.KUBERNETES_LOGIN_S):
            return await trio.to_thread.run_sync(
                load, context, dict(os.environ), abandon_on_cancel=True, limiter=_LOADING
            )
        raise JobFailed(
            "the worker's kubeconfig gave no credentials within "
            f"{limits.KUBERNETES_LOGIN_S:g} s; a plugin of it (`exec`) waits, perhaps for a person"
        )

    credentials = await renew()
    chosen = namespace or credentials.namespace
    if namespace is None and allowed.namespaces and chosen not in allowed.namespaces:
        chosen = allowed.namespaces[0]
    _check("namespace", chosen, allowed.namespaces)
    return KubernetesApi(credentials, chosen, renew)


def _check(what: str, asked: str | None, allowed: tuple[str, ...]) -> None:
    if allowed and asked not in allowed:
        raise JobFailed(
            f"this worker's config does not allow the {what} {asked!r}; it allows: "
            f"{', '.join(allowed)} ([kubernetes] {what}s)",
            final=True,
        )
