"""Decides what values become in the parts of an HTTP request: encoded, so that none ends its part.

Sources: RFC 3986 (URI syntax), RFC 9110 section 5.5 (field values), the WHATWG's
`application/x-www-form-urlencoded` serializer.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final
from urllib.parse import quote, quote_plus
from xml.sax.saxutils import escape

from control.model import limits
from control.model.errors import Invalid, JobFailed
from control.model.json_values import Json, cut, show
from control.model.surroundings.base import Misplaced, Surroundings, scalar_texts, texts
from control.model.templates import OPENING, Reference, Renderer, is_whole, references

_HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9.])?|\[[0-9A-Fa-f:.]+\]")
_HOST_PORT: Final = re.compile(rf"(?:{_HOST.pattern}):[0-9]{{1,5}}")
_PORT: Final = re.compile(r"[0-9]{1,5}")
_WRITTEN_PORT: Final = re.compile(r"[A-Za-z]+://[^/?#{}]*:([0-9]+)(?=[/?#]|$)")
_DOTS: Final = frozenset((".", ".."))
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_JSON_BODY: Final = re.compile(r"\s*[\[{]")
_XML_ESCAPES: Final = {'"': "&quot;", "'": "&#39;"}
_AS_OBJECT: Final = "write the body as an object or a list instead of a text: it is sent as JSON"


class Url(Surroundings):
    """The URL of a request. A value that is all of it is a URL; else it is encoded as a part."""

    def problems(self, value: Json, params: Mapping[str, Json]) -> Iterator[Misplaced]:  # noqa: ARG002 - The interface of all surroundings.
        """A template that would choose the scheme, which decides how the rest is read.

        And a port that is written, but is none.
        """
        if not isinstance(value, str) or is_whole(value):
            return
        port = _WRITTEN_PORT.match(value)
        if port is not None and not 0 < int(port[1][:9]) <= limits.PORT_MAX:
            message = f"{cut(port[1])} is no port"
            yield Misplaced((), message, f"write one from 1 to {limits.PORT_MAX}")
        if OPENING not in value:
            return
        for reference in _readable(value):
            template = cut(value[reference.start : reference.end])
            if _ends_host(value, reference):
                message = f"{template} at the end of the host would choose another host"
                yield Misplaced((), message, "write a slash before it, or the whole host by one")
            if _part(value[: reference.start]) == "scheme":
                message = f"{template} would choose the scheme of the URL, and so how it is read"
                yield Misplaced((), message, "begin with https:// or let a template be all of it")

    def insert(self, value: Json, params: Mapping[str, Json], renderer: Renderer) -> Json:  # noqa: ARG002 - As above.
        """Encode each value for its part; raises JobFailed where a part cannot hold it."""
        if not isinstance(value, str):
            return value
        if is_whole(value):
            return renderer.text(value)
        url = renderer.text(value, lambda reference, text: _url_part(value, reference, text))
        if OPENING in value:
            _check_segments(value, url)
        return url


class HeaderLines(Surroundings):
    """An object of header fields: a value stays in its line."""

    def problems(self, value: Json, params: Mapping[str, Json]) -> Iterator[Misplaced]:  # noqa: ARG002 - As above.
        """Nothing: names of fields are no templates."""
        yield from ()

    def insert(self, value: Json, params: Mapping[str, Json], renderer: Renderer) -> Json:  # noqa: ARG002 - As above.
        """Fill in; raises JobFailed when a value has a line break or control characters."""
        filled = scalar_texts(value, renderer)
        for path, text in texts(filled):
            if _CONTROL.search(text):
                name = path[0] if path else ""
                msg = f"the header {name} would contain {show(text)}: a header is one line of text"
                raise JobFailed(msg)
        return filled


class Body(Surroundings):
    """A body: inside an object or list values are data; in a text its content type decides."""

    def problems(self, value: Json, params: Mapping[str, Json]) -> Iterator[Misplaced]:
        """Templates in a text that is JSON already: a value could end its string."""
        if not isinstance(value, str) or OPENING not in value or is_whole(value):
            return
        if "json" in _content_type(params) or _JSON_BODY.match(value):
            for reference in _readable(value):
                template = cut(value[reference.start : reference.end])
                message = f"{template} stands in a text of JSON, which its value could change"
                yield Misplaced((), message, _AS_OBJECT)

    def insert(self, value: Json, params: Mapping[str, Json], renderer: Renderer) -> Json:
        """Fill in; in forms and XML each value is escaped."""
        if not isinstance(value, str) or is_whole(value):
            return renderer.value(value)
        encode = _body_encoding(_content_type(params), value)
        return renderer.text(value, encode and (lambda _, text: encode(text)))


class QueryTexts(Surroundings):
    """An object of query parameters: each value is encoded by the kind."""

    def problems(self, value: Json, params: Mapping[str, Json]) -> Iterator[Misplaced]:  # noqa: ARG002 - As above.
        """Nothing: names of parameters are no templates."""
        yield from ()

    def insert(self, value: Json, params: Mapping[str, Json], renderer: Renderer) -> Json:  # noqa: ARG002 - As above.
        """Every value becomes a text, but a list stays a list of them."""
        filled = renderer.value(value)
        if not isinstance(filled, dict):
            return filled
        return {name: _query_value(each) for name, each in filled.items()}


def _query_value(value: Json) -> Json:
    if isinstance(value, list):
        return [_query_value(each) for each in value]
    return "" if value is None else value


def _readable(text: str) -> tuple[Reference, ...]:
    try:
        return references(text)
    except Invalid:
        return ()  # Refused where templates are checked.


def _part(before: str) -> str:
    """Which part of a URL follows this text."""
    scheme, separator, rest = before.partition("://")
    if not separator or OPENING in scheme:
        return "scheme"
    rest = re.sub(r"\$\{\{.*?\}\}", "x", rest, flags=re.DOTALL)
    for mark, part in (("#", "fragment"), ("?", "query"), ("/", "path")):
        if mark in rest:
            return part
    host = rest.rpartition("@")[2]
    return "port" if ":" in host and not host.startswith("[") else "host"


def _ends_host(url: str, reference: Reference) -> bool:
    """Whether a value would go on with a host that is written: `example.com` and `.evil.net`."""
    before, after = url[: reference.start], url[reference.end :]
    literal = not before.endswith(("://", "@", "}}"))
    return _part(before) == "host" and literal and (not after or after[0] in "/:?#")


def _url_part(url: str, reference: Reference, text: str) -> str:
    before, after = url[: reference.start], url[reference.end :]
    part = _part(before)
    if part in {"host", "port"} and "@" in re.split(r"[/?#]", after, maxsplit=1)[0]:
        return quote(text, safe="")  # A name or password.
    template = cut(url[reference.start : reference.end])
    if part == "port" and not (_PORT.fullmatch(text) and int(text) <= limits.PORT_MAX):
        raise JobFailed(f"{template} is {show(text)}, which is no port")
    if part == "host" and not (_HOST.fullmatch(text) or _HOST_PORT.fullmatch(text)):
        raise JobFailed(f"{template} is {show(text)}, which is no host name or address")
    return text if part in {"host", "port"} else quote(text, safe="")


def _check_segments(written: str, url: str) -> None:
    """A value that is `..` would leave its directory, and cannot be encoded."""
    segments = url.partition("://")[2].partition("?")[0].partition("#")[0].split("/")
    literal = written.partition("://")[2].split("/")
    if any(segment in _DOTS and segment not in literal for segment in segments):
        msg = "a part of the URL's path would be . or .., which names another directory"
        raise JobFailed(msg)


def _content_type(params: Mapping[str, Json]) -> str:
    headers = params.get("headers")
    for name, value in headers.items() if isinstance(headers, dict) else ():
        if name.lower() == "content-type" and isinstance(value, str):
            return value.partition(";")[0].strip().lower()
    return ""


def _body_encoding(content_type: str, text: str) -> Callable[[str], str] | None:
    if content_type == "application/x-www-form-urlencoded":
        return quote_plus
    untyped = not content_type and text.lstrip().startswith("<")
    if content_type.endswith(("/xml", "+xml", "/html")) or untyped:
        return lambda value: escape(value, _XML_ESCAPES)
    return None


URL: Final = Url()
HEADERS: Final = HeaderLines()
QUERY: Final = QueryTexts()
BODY: Final = Body()
