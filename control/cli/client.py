"""Owns the talk with the REST API: one keep-alive connection, answers as values, errors as ours."""

from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from typing import Final, TypeAlias, TypedDict

import httpx
import msgspec

from control.cli.credentials import Login
from control.cli.errors import ServerFailed, Unreachable, error_of
from control.model import limits
from control.model.errors import Unauthenticated
from control.model.json_values import Json

Row: TypeAlias = dict[str, Json]
Query: TypeAlias = Mapping[str, str | float | bool | None]

JSON: Final = "application/json"
YAML: Final = "application/yaml"
_CONNECT_S: Final = 10.0
_ANSWER_S: Final = 60.0  # A report over a long history takes a while.
TIMEOUT: Final = httpx.Timeout(_ANSWER_S, connect=_CONNECT_S)
STREAMING: Final = httpx.Timeout(_ANSWER_S, connect=_CONNECT_S, read=None)  # A log may be silent.
_UNAUTHORIZED: Final = 401


class Options(TypedDict):
    """How httpx is set up, for one call at a time and for many."""

    base_url: str
    auth: httpx.BasicAuth | None
    headers: dict[str, str]
    timeout: httpx.Timeout
    trust_env: bool


def options(login: Login) -> Options:
    """httpx's settings for this server and client."""
    auth = None
    if login.client_id and login.client_secret:
        auth = httpx.BasicAuth(login.client_id, login.client_secret)
    # The server takes a call as a person's by the name of the tool.
    headers = {"user-agent": f"tpctl/{version('taskplane')}", "accept": JSON}
    return Options(
        base_url=login.url,
        auth=auth,
        headers=headers,
        timeout=TIMEOUT,
        trust_env=not login.is_local,
    )


def asked(query: Query) -> dict[str, str]:
    """Query parameters without those that have no value."""
    spelled = {True: "true", False: "false"}
    return {
        name: spelled[value] if isinstance(value, bool) else str(value)
        for name, value in query.items()
        if value is not None
    }


def refusal(login: Login, status: int, body: bytes, retry_after: str | None) -> Exception:
    """The error of an answer that is none of success."""
    error = error_of(status, body, retry_after)
    if status == _UNAUTHORIZED and not login.client_id:
        message = f"no credentials: set TP_CLIENT_ID and TP_CLIENT_SECRET, or keep {login.file}"
        return Unauthenticated(message)
    return error


def broken(login: Login, error: httpx.HTTPError) -> Exception:
    """The error of a talk that broke off."""
    if isinstance(error, httpx.ReadTimeout):
        return ServerFailed(f"{login.url} did not answer within {_ANSWER_S:g} s")
    why = str(error) or type(error).__name__
    hint = "; is `tpctl up` running?" if isinstance(error, httpx.ConnectError) else ""
    return Unreachable(f"cannot reach {login.url}: {why}{hint}")


class Client:
    """One server, and who asks it."""

    def __init__(self, login: Login) -> None:
        self.login = login
        self._http = httpx.Client(**options(login))

    def close(self) -> None:
        """Hang up."""
        self._http.close()

    def call(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        content: bytes | None = None,
        media: str = JSON,
        headers: Mapping[str, str] | None = None,
        query: Query | None = None,
        accepted: tuple[int, ...] = (),
    ) -> httpx.Response:
        """One call; raises ours. `body` is sent as JSON, `content` as it is."""
        sent = content if body is None else msgspec.json.encode(body)
        extra = dict(headers or {})
        if sent is not None:
            extra["content-type"] = media
        try:
            answer = self._http.request(
                method, path, content=sent, headers=extra, params=asked(query or {})
            )
        except httpx.HTTPError as error:
            raise broken(self.login, error) from error
        if not answer.is_success and answer.status_code not in accepted:
            raise refusal(
                self.login, answer.status_code, answer.content, answer.headers.get("retry-after")
            )
        return answer

    def get(self, path: str, **query: str | float | bool | None) -> Row:
        """A value."""
        return row_of(self.call("GET", path, query=query).content)

    def post(self, path: str, body: object = None, **headers: str) -> Row:
        """What a call that changes something answers."""
        return row_of(self.call("POST", path, body=body, headers=headers).content)

    def change(self, path: str, body: object) -> Row:
        """A thing after a change of some of its fields."""
        return row_of(self.call("PATCH", path, body=body).content)

    def put(self, path: str, body: object) -> Row:
        """A thing as it is from now on."""
        return row_of(self.call("PUT", path, body=body).content)

    def items(self, path: str, *, limit: int | None = None, **query: str | None) -> "Listing":
        """The items of a list; `limit` None: all of them."""
        return Listing(self, path, limit, query)

    @contextmanager
    def stream(
        self, path: str, query: Query, *, media: str = "text/plain"
    ) -> Generator[Iterator[bytes], None, None]:
        """An answer piece by piece, as it comes."""
        try:
            with self._http.stream(
                "GET",
                path,
                params=asked(query),
                headers={"accept": media},
                timeout=STREAMING,
            ) as answer:
                if not answer.is_success:
                    body = answer.read()
                    raise refusal(self.login, answer.status_code, body, None)
                yield answer.iter_bytes()
        except httpx.HTTPError as error:
            raise broken(self.login, error) from error


class Listing:
    """The items of a list, asked for page by page while it is gone through."""

    def __init__(
        self, client: Client, path: str, limit: int | None, query: Mapping[str, str | None]
    ) -> None:
        self._client = client
        self._path = path
        self._limit = limit
        self._query = query
        self.next_cursor: str | None = None  # After the last item: where more would begin.

    def __iter__(self) -> Iterator[Row]:
        left = self._limit
        while left is None or left > 0:
            limit = limits.PAGE_MAX if left is None else min(left, limits.PAGE_MAX)
            cursor = self.next_cursor
            page = self._client.get(self._path, **self._query, limit=limit, cursor=cursor)
            items, following = page.get("items"), page.get("next_cursor")
            self.next_cursor = following if isinstance(following, str) else None
            for item in items if isinstance(items, list) else ():
                if isinstance(item, dict):
                    yield item
                    left = None if left is None else left - 1
            if self.next_cursor is None:
                return


def row_of(body: bytes) -> Row:
    """An answer's value; raises `ServerFailed` when it is none of ours."""
    try:
        value: Json = msgspec.json.decode(body) if body else {}
    except (msgspec.DecodeError, UnicodeDecodeError):
        value = None  # A page of a web server, perhaps.
    if isinstance(value, dict):
        return value
    message = "the server's answer is not that of a control plane; is the address right?"
    raise ServerFailed(message)
