"""Owns what one call is: its description, what came in, and what goes out.

An `Operation` is all that is known of a call, and stands above the handler that carries it out:
routing, OpenAPI, and the tests are made from it.
"""

import codecs
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Annotated, Any, Final, TypeVar

import msgspec
from litestar import Request
from litestar.exceptions import InternalServerException
from msgspec import Meta, Raw

from control.admission.fair_use import FairUse
from control.admission.pool import Pool
from control.api.auth.authentication import Caller
from control.api.http.problems import Malformed, UnsupportedMedia, one
from control.api.http.shares import SCOPE_KEY, Holds
from control.model import limits
from control.model.allowed_values import choices
from control.model.errors import Invalid

T = TypeVar("T")
H = TypeVar("H", bound=Callable[..., Any])
GET: Final = "GET"
HEAD: Final = "HEAD"
JSON: Final = "application/json"
YAML: Final = ("application/yaml", "application/x-yaml", "text/yaml")
# Of the header Idempotency-Key.
KEY_PATTERN: Final = "^[!-~]([ -~]*[!-~])?$"
TEXT: Final = "text/plain; charset=utf-8"

_WHERE: Final = re.compile(r"(.*) - at `\$\.?(.*)`$", re.DOTALL)
_NESTING: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)
_ID_MAX: Final = 2**63 - 1
_UTF8: Final = codecs.getincrementaldecoder("utf-8")
_ANY: Final = msgspec.json.Decoder()
_OPERATION: Final = "operation"  # The attribute of a handler.

Cursor = Annotated[
    str, Meta(max_length=256, description="`next_cursor` of the page before.", examples=["4711"])
]
Limit = Annotated[int, Meta(ge=1, le=limits.PAGE_MAX, description="Items at most.", examples=[50])]


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a call before anybody makes it."""

    method: str
    path: str
    name: str
    summary: str
    tag: str
    answer: Any = None  # A type; None: no body.
    status: int = 200
    also: tuple[int, ...] = ()  # Other statuses of success, with the same body.
    media: str = JSON
    query: type[msgspec.Struct] | None = None
    body: Any = None
    body_media: tuple[str, ...] = (JSON,)
    any_json: bool = False  # Whatever is JSON by its suffix (`+json`, RFC 6839) is taken as well.
    body_needed: bool = True
    errors: tuple[int, ...] = ()
    idempotent: bool = False  # Takes the header Idempotency-Key.

    def __call__(self, handler: H) -> H:
        """Stand above the handler that carries it out, as its decorator; `routes_of` reads it."""
        vars(handler)[_OPERATION] = self
        return handler

    @property
    def methods(self) -> list[str]:
        """The HTTP methods that it answers: where GET is, HEAD is as well."""
        return [GET, HEAD] if self.method == GET else [self.method]

    def takes(self, media: str) -> bool:
        """Whether a body of this content type is read."""
        return media in self.body_media or (self.any_json and media.endswith("+json"))


class ApiResponse(msgspec.Struct, frozen=True, kw_only=True):
    """What goes out. Bytes go as they are, everything else as JSON."""

    body: object = None
    status: int | None = None  # None: the operation's.
    headers: Mapping[str, str] = {}
    stream: AsyncGenerator[bytes, None] | None = None


class Call:
    """What came in: who, which place, which question, which body."""

    def __init__(
        self,
        request: Request[Any, Any, Any],
        who: Caller | None,
        operation: Operation,
        fair: FairUse,
        address: str,
    ) -> None:
        self._request = request
        self._who = who
        self._operation = operation
        self._fair = fair
        self._body: bytes | None = None
        self.key = address if who is None else who.client_id
        """Whose share of what is bounded this call takes: the client's, or the address's."""

    @property
    def who(self) -> Caller:
        """The caller; only where credentials are asked for."""
        assert self._who is not None
        return self._who

    @property
    def by_hand(self) -> bool:
        """Whether a person's tool calls, not a program."""
        return self._request.headers.get("user-agent", "").startswith("tpctl/")

    @property
    def headers_only(self) -> bool:
        """Whether the answer's body is not wanted: a HEAD request."""
        return self._request.method == HEAD

    @property
    def place(self) -> str:
        """What is called, in full: the same place and body are the same request."""
        return f"{self._operation.method} {self._request.url.path}"

    def header(self, name: str) -> str | None:
        """A header of the request."""
        return self._request.headers.get(name)

    def text(self, name: str) -> str:
        """A part of the path."""
        found = self._request.path_params.get(name)
        return found if isinstance(found, str) else _spelled_out(self._request.url.path)

    def number(self, name: str) -> int:
        """A part of the path that is an id; raises `Invalid`."""
        return read_id(self.text(name), name)

    def query(self, wanted: type[T]) -> T:
        """The question's parameters; raises `Invalid`."""
        given: dict[str, str] = {}
        for name, value in self._request.query_params.multi_items():
            if name in given:
                raise one(name, "this parameter is given twice")
            given[name] = value
        try:
            found = msgspec.convert(given, wanted, strict=False)
        except msgspec.ValidationError as error:
            raise _invalid(error, wanted) from error
        for name in given:
            if getattr(found, name) is None:  # The text `null` was taken for a value.
                raise one(name, "null is no value here; leave the parameter out")
        return found

    @property
    def large(self) -> bool:
        """Whether a body is announced that is larger than what anybody may send at once."""
        announced = self._request.content_length
        return announced is not None and announced > limits.BODY_FREE_BYTES

    async def hold(self, pool: Pool, amount: int = 1) -> None:
        """Hold a share until this call has been answered; raises `Busy`."""
        scope: dict[str, Any] = dict(self._request.scope)
        holds: Holds = scope[SCOPE_KEY]
        await holds.take(pool, self.key, amount)

    async def body(self) -> bytes:
        """The body as it came; raises `UnsupportedMedia`, `Malformed`, `Busy`."""
        if self._body is None:
            self._body = await self._read()
        return self._body

    async def _read(self) -> bytes:
        try:
            body = await self._received()
        except InternalServerException as error:
            # Nobody hears it, and it is no fault of ours that a log should speak of.
            message = "the client went away before its body was complete"
            raise Malformed(message) from error
        if body and not self._operation.takes(self.media):
            raise self._untaken()
        return body

    async def _received(self) -> bytes:
        """All of the body; a large one is waited for only when there is room for it."""
        announced, pieces, size = self._request.content_length, [], 0
        room = limits.BODY_FREE_BYTES
        if announced is not None and room < announced <= limits.BODY_BYTES_MAX:
            await self.hold(self._fair.bodies, announced)
            room = announced
        async for piece in self._request.stream():
            size += len(piece)
            if size > room:
                room = limits.BODY_BYTES_MAX
                await self.hold(self._fair.bodies, room)
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def check_media(self) -> None:
        """Raise `UnsupportedMedia` for a content type that this call does not take.

        Also where no body is needed: a form of any page can be sent here without asking.
        """
        untyped = not self.media and self._operation.body is None and self._request.content_length
        if untyped or (self.media and not self._operation.takes(self.media)):
            raise self._untaken()

    def _untaken(self) -> UnsupportedMedia:
        taken = list(self._operation.body_media)
        if self._operation.any_json:
            taken.append("application/…+json")
        media = self.media or "a body without a content type"
        return UnsupportedMedia(f"{media} is not taken here: {', '.join(taken)}")

    @property
    def media(self) -> str:
        """The body's content type, without its parameters."""
        return self._request.headers.get("content-type", "").partition(";")[0].strip().lower()

    async def json(self, decoder: "msgspec.json.Decoder[T]") -> T:
        """The body as a value; raises what `body` does, and `Invalid`."""
        body = await self.body()
        if not body and not self._operation.body_needed:
            body = b"{}"
        return decode(body, decoder)


Handler = Callable[[Call], Awaitable[ApiResponse]]


class Route(msgspec.Struct, frozen=True):
    """An operation, and who carries it out."""

    operation: Operation
    handler: Handler


def routes_of(*handlers: Handler) -> list[Route]:
    """The routes of handlers that are decorated with their operations, in this order."""
    return [Route(getattr(handler, _OPERATION), handler) for handler in handlers]


def decode(body: bytes, decoder: "msgspec.json.Decoder[T]") -> T:
    """A JSON body as a value; raises `Malformed` or `Invalid`."""
    try:
        _check_text(body)  # What is left undecoded inside must be text as well.
        return decoder.decode(body)
    except UnicodeDecodeError as error:
        message = "the body is not valid UTF-8"
        raise Malformed(message) from error
    except msgspec.ValidationError as error:
        raise _invalid(error, decoder.type) from error
    except msgspec.DecodeError as error:
        raise Malformed(f"the body is not valid JSON: {error}") from error
    except RecursionError as error:
        raise _too_deep("") from error


def _check_text(body: bytes) -> None:
    """Raise `UnicodeDecodeError` for what is no UTF-8; a large body is not copied for it."""
    decoder, view = _UTF8(), memoryview(body)
    for at in range(0, len(view), limits.MIB):
        decoder.decode(view[at : at + limits.MIB])
    decoder.decode(b"", final=True)


def check_input(value: Raw, path: str) -> Raw:
    """A run's input, if every part of the system can carry it; raises `Invalid`."""
    body = bytes(value)
    if len(body) > limits.INPUT_BYTES_MAX:
        raise one(path, f"{len(body)} bytes, at most {limits.INPUT_BYTES_MAX} are allowed")
    if body.count(b"[") + body.count(b"{") > limits.YAML_DEPTH_MAX:
        _check_depth(body, path)
    try:
        _ANY.decode(body)
    except msgspec.DecodeError as error:
        raise one(path, f"not a value every part can carry: {error}") from error
    # A view of the request's body would keep all of it.
    return Raw(body)


def read_id(text: str, path: str) -> int:
    """An id as written by a caller; raises `Invalid`."""
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(_ID_MAX))):
        raise one(path, "an id is a whole number")
    number = int(text)
    if number > _ID_MAX:
        raise one(path, "no id is so large")
    return number


def read_cursor(cursor: str | None) -> int | None:
    """A page's cursor that is an id; raises `Invalid`."""
    return None if cursor is None else read_id(cursor, "cursor")


def write_cursor(following: int | None) -> str | None:
    """The id with which a list goes on, as its cursor."""
    return None if following is None else str(following)


def _spelled_out(path: str) -> str:
    # Only `/v1/pipelines/validate…` has a word where others have a parameter: it is a name too.
    return path.split("/")[3]


def _check_depth(body: bytes, path: str) -> None:
    depth = 0
    for match in _NESTING.finditer(body):
        if match[0] in {b"[", b"{"}:
            depth += 1
        elif match[0] in {b"]", b"}"}:
            depth -= 1
        if depth > limits.YAML_DEPTH_MAX:
            raise _too_deep(path)


def _too_deep(path: str) -> Invalid:
    return one(path, f"nested more than {limits.YAML_DEPTH_MAX} levels deep")


def _invalid(error: msgspec.ValidationError, wanted: object) -> Invalid:
    """msgspec says one problem at a time: ``Expected `int`, got `str` - at `$.runs[2].id` ``."""
    text = str(error)
    match = _WHERE.match(text)
    message, path = (match[1], match[2]) if match else (text, "")
    return one(path, message[:1].lower() + message[1:], _hint(error, path, wanted))


def _hint(error: msgspec.ValidationError, path: str, wanted: object) -> str | None:
    """What would be right, where the outermost fields are what is wrong."""
    if not (isinstance(wanted, type) and issubclass(wanted, msgspec.Struct)):
        return None
    fields = {field.encode_name: field.type for field in msgspec.structs.fields(wanted)}
    allowed = choices(error, fields[path]) if path in fields else None
    if not path and "unknown field" in str(error):
        allowed = ", ".join(fields)
    return allowed and f"one of: {allowed}"
