"""Owns the kind `HTTP`: a request, its answer as the output, and no surprises in between.

Redirects are not followed, and no cookie is stored, since one connection pool serves all jobs.
"""

import zlib
from collections.abc import Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Annotated, Any, ClassVar, Final

import httpx
import msgspec
import trio
from msgspec import Meta, Raw

from control.model import limits
from control.model.errors import JobFailed
from control.model.kinds import Job, Kind, Reporter, Result
from control.model.surroundings.base import Code, Surroundings
from control.model.surroundings.http import BODY, HEADERS, QUERY, URL
from workers.kinds.conditions import Conditions
from workers.kinds.expressions import syntax_problem
from workers.trouble import WorkerTrouble, of_exhaustion

_BODY_SHOWN_CHARS: Final = 500
_TOO_LARGE: Final = f"the answer's body has more than {limits.OUTPUT_BYTES_MAX} bytes"
_REASONS_SHOWN: Final = 3  # What failed, and two reasons: of some errors only the cause has any.
_GZIP_OR_ZLIB: Final = 32 + zlib.MAX_WBITS  # Whichever its header says.
Status = Annotated[int, Meta(ge=100, le=599)]


class HTTPParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The request, and which answers are good."""

    url: Annotated[
        str,
        Meta(pattern="^[hH][tT][tT][pP][sS]?://", examples=["https://example.com/api/orders"]),
    ]
    method: Annotated[
        str, Meta(pattern="^[A-Za-z]{1,32}$", description="The HTTP method.", examples=["POST"])
    ] = "GET"
    headers: Annotated[
        dict[str, str], Meta(description="Header fields.", examples=[{"accept": "text/csv"}])
    ] = {}
    query: Annotated[
        dict[str, str | int | float | bool | list[str | int | float | bool]],
        Meta(description="Added to the URL's query.", examples=[{"page": 1}]),
    ] = {}
    body: Annotated[
        Any,
        Meta(description="A text is sent as it is, anything else as JSON.", examples=[{"id": 1}]),
    ] = None
    expect: Annotated[
        Status | list[Status] | None,
        Meta(description="The status codes that are success. Default: 2xx.", examples=[[200, 404]]),
    ] = None
    until: Annotated[
        Annotated[str, Meta(min_length=1, max_length=limits.TEXT_CHARS_MAX)] | None,
        Meta(
            description="In CEL: the request is sent again until this holds for the answer.",
            examples=["answer.body.state == 'done'"],
        ),
    ] = None
    interval: Annotated[
        float,
        Meta(
            ge=limits.HTTP_INTERVAL_MIN_S,
            le=limits.SECONDS_MAX,
            description="Seconds between an answer and the next request of until.",
            examples=[10],
        ),
    ] = 5.0

    def __post_init__(self) -> None:
        """Refuse a condition that cannot be read."""
        if self.until is not None and (problem := syntax_problem(self.until)):
            raise ValueError(f"until cannot be read: {problem}; in CEL == compares, && and || join")


class HttpOutput(msgspec.Struct, frozen=True, kw_only=True):
    """The output of a job of this kind."""

    status: int
    headers: dict[str, str]
    body: Raw


class HTTP(Kind[HTTPParams]):
    """Sends a request and keeps the answer: the only one, or the first for which `until` holds."""

    name: ClassVar[str] = "HTTP"
    version: ClassVar[str] = "1.0.0"
    summary: ClassVar[str] = "Send an HTTP request; the output is the answer."
    params = HTTPParams
    surroundings: ClassVar[Mapping[str, Surroundings]] = {
        "url": URL,
        "headers": HEADERS,
        "query": QUERY,
        "body": BODY,
        "until": Code("when the job ends", "write run.x, jobs.NAME.x, or this.x without ${{ }}"),
    }

    def __init__(self) -> None:
        self._client: httpx.AsyncClient | None = None
        self._conditions = Conditions()

    async def run(self, job: Job, params: HTTPParams, report: Reporter) -> Result:
        """Send the request; how long it may take, with all of `until`, is the job's time-out."""
        names = {} if params.until is None else msgspec.json.decode(job.document)
        status = 0
        while True:
            answer = await self._ask(params)
            output = msgspec.json.encode(answer)
            if params.until is None:
                break
            names["answer"] = msgspec.json.decode(output)
            if await self._conditions.holds(params.until, names, job, report):
                break
            if answer.status != status:  # Not each time: that may be for days.
                status = answer.status
                await report.log(f"the answer is {status}, and `until` does not hold yet\n")
            await trio.sleep(params.interval)
        return Result(output=Raw(output))

    async def aclose(self) -> None:
        """Close the idle connections, and end what evaluates conditions."""
        await self._conditions.aclose()
        if self._client is not None:
            await self._client.aclose()

    async def _ask(self, params: HTTPParams) -> HttpOutput:
        """Send the request once; raises JobFailed unless the answer is an expected one."""
        client = self._client = self._client or _make_client()
        content, headers = _content(params)
        try:
            async with client.stream(
                params.method.upper(),
                _url(params),
                headers=headers,
                content=content,
            ) as response:
                body = await _read(response)
        except (httpx.HTTPError, httpx.InvalidURL, httpx.CookieConflict) as error:
            if isinstance(error, httpx.ConnectError) and (trouble := of_exhaustion(error)):
                raise WorkerTrouble(f"no connection could be opened: {trouble}") from error
            raise JobFailed(f"the request failed: {describe_failure(error)}") from error
        except (UnicodeError, ValueError) as error:
            raise JobFailed(f"the request cannot be sent: {error}", final=True) from error
        text = _text(body, response.charset_encoding)
        if not _expected(response.status_code, params.expect):
            shown = text[:_BODY_SHOWN_CHARS] + ("…" if len(text) > _BODY_SHOWN_CHARS else "")
            msg = f"the answer was {response.status_code} {response.reason_phrase}: {shown}"
            raise JobFailed(msg)
        return HttpOutput(
            status=response.status_code,
            headers=dict(response.headers),
            body=_json(response, body) or Raw(msgspec.json.encode(text)),
        )


def _make_client() -> httpx.AsyncClient:
    return httpx.AsyncClient(
        follow_redirects=False,
        headers={"accept-encoding": "gzip, deflate"},
        timeout=httpx.Timeout(None, connect=limits.HTTP_CONNECT_S),
        # Slots are the bound.
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=32),
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
    )


def _url(params: HTTPParams) -> httpx.URL:
    """The URL with `query` after the query that it has itself, which stays as it is written."""
    for problem in URL.problems(params.url, {}):
        msg = f"the request cannot be sent: {problem.message}; {problem.hint}"
        raise JobFailed(msg, final=True)
    url = httpx.URL(params.url)
    if not params.query:
        return url
    added = str(httpx.QueryParams(params.query)).encode()
    return url.copy_with(query=b"&".join(filter(None, (url.query, added))))


def _text(body: bytes, charset: str | None) -> str:
    """The body as text: of its charset, if there is such a one, else of UTF-8."""
    try:
        text = body.decode(charset or "utf-8", errors="replace")
        text.encode()  # A codec for programs' texts may make of it what is none.
    except (LookupError, ValueError):
        return body.decode("utf-8", errors="replace")
    return text


def describe_failure(error: Exception) -> str:
    """What went wrong with a request; some errors say it only in what has caused them."""
    words = [type(error).__name__]
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, BaseExceptionGroup):  # Of several addresses that were tried.
            cause = cause.exceptions[0]
        reason = (isinstance(cause, OSError) and cause.strerror) or str(cause)
        if reason and reason not in words[-1]:
            words.append(reason)
        cause = cause.__cause__ or cause.__context__
    return ": ".join(words[:_REASONS_SHOWN])


def _content(params: HTTPParams) -> tuple[bytes | None, dict[str, str]]:
    """Return the body to send, and the headers with its type unless it has one."""
    if params.body is None:
        return None, params.headers
    text = isinstance(params.body, str)
    content = params.body.encode() if text else msgspec.json.encode(params.body)
    content_type = "text/plain; charset=utf-8" if text else "application/json"
    named = {name.lower() for name in params.headers}
    added = {} if "content-type" in named else {"content-type": content_type}
    return content, params.headers | added


async def _read(response: httpx.Response) -> bytes:
    parts: list[bytes] = []
    size = 0
    try:
        # As it came: httpx would decode a piece of whatever size before it can be bounded.
        async for part in response.aiter_raw():
            size += len(part)
            if size <= limits.OUTPUT_BYTES_MAX:
                parts.append(part)
            else:
                # Leaving the loop would leave httpx's inner generators to the garbage collector;
                # reading from a closed connection ends them in order.
                await response.aclose()
    except (httpx.HTTPError, httpx.StreamError):
        if size <= limits.OUTPUT_BYTES_MAX:
            raise
    if size > limits.OUTPUT_BYTES_MAX:
        raise JobFailed(_TOO_LARGE)
    body = b"".join(parts)
    for coding in reversed(response.headers.get("content-encoding", "").split(",")):
        body = _decoded(body, coding.strip().lower())
    return body


def _decoded(body: bytes, coding: str) -> bytes:
    """Undo one coding of the content, up to the size that a body may have."""
    if coding in {"", "identity"} or not body:
        return body
    if coding not in {"gzip", "x-gzip", "deflate"}:
        raise JobFailed(f"the answer's body has the coding {coding!r}, for which it was not asked")
    decoder = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        content = decoder.decompress(body, limits.OUTPUT_BYTES_MAX + 1)
    except zlib.error as error:
        raise JobFailed(f"the answer's body is no {coding}: {error}") from error
    if len(content) > limits.OUTPUT_BYTES_MAX:
        raise JobFailed(_TOO_LARGE)
    return content


def _json(response: httpx.Response, body: bytes) -> Raw | None:
    """Return the body as JSON if the answer says that it is, and it is."""
    media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        return None
    try:
        msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    return Raw(body)


def _expected(status: int, expect: int | list[int] | None) -> bool:
    if expect is None:
        return httpx.codes.is_success(status)
    return status in ([expect] if isinstance(expect, int) else expect)
