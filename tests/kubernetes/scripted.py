"""Owns an API server that answers as a test says, for what a real one seldom does."""

import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple, NoReturn

import msgspec
import trio

from control.model import limits
from workers.kinds.kubernetes.api import JSON_PATCH, ApiRefusal, KubernetesApi, Resource, Verb
from workers.kinds.kubernetes.credentials import ClusterCredentials

_TLS: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
PROXY_PAGE: Final = b"<html>Sign in to go on</html>"


class Request(NamedTuple):
    """What is asked of the API server."""

    verb: Verb
    plural: str
    name: str
    query: Mapping[str, str]
    body: Any
    is_json_patch: bool


def refuse(status: int) -> NoReturn:
    """Answer with this HTTP status."""
    raise ApiRefusal(f"refused: {status}", status)


class ScriptedApi(KubernetesApi):
    """`answer` gives the object that answers a request, or bytes; a watch sees that one only."""

    def __init__(self, answer: Callable[[Request], Any]) -> None:
        super().__init__(
            ClusterCredentials("https://scripted", "batch", _TLS, None, None, None),
            "batch",
            self._renewed,
        )
        self._answer = answer
        self.verbs: list[str] = []  # Of all requests.

    @asynccontextmanager
    async def open(
        self,
        verb: Verb,
        resource: Resource,
        name: str = "",
        *,
        part: str = "",  # noqa: ARG002 - The real one's.
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content_type: str = "",
        silence_s: float | None = limits.KUBERNETES_ANSWER_S,  # noqa: ARG002 - As above.
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Answer one request."""
        await trio.lowlevel.checkpoint()
        self.verbs.append(verb)
        asked = None if body is None else msgspec.json.decode(body)
        is_json_patch = content_type == JSON_PATCH
        request = Request(verb, resource.plural, name, query or {}, asked, is_json_patch)
        answer = self._answer(request)
        yield _pieces(answer if isinstance(answer, bytes) else msgspec.json.encode(answer), verb)

    async def _renewed(self) -> ClusterCredentials:
        raise AssertionError("a scripted API server takes any credentials")


async def _pieces(answer: bytes, verb: Verb) -> AsyncIterator[bytes]:
    yield answer + b"\n"
    if verb == "watch":
        await trio.sleep_forever()


def event(changed: Mapping[str, Any]) -> dict[str, Any]:
    """One of a watch."""
    return {"type": "MODIFIED", "object": changed}
