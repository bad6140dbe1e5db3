"""Owns what needs no server: reading pipeline files, and asking the kinds installed here."""

import sys
from datetime import datetime
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from control.cli.client import JSON, YAML, Row
from control.cli.errors import UsageError
from control.core.pipelines.documents import Document, read_json, read_yaml
from control.core.pipelines.type_errors import IN_QUOTES
from control.core.pipelines.validate import parse_pipeline
from control.core.schedules import cron
from control.core.schedules.cron import check_schedule
from control.model.errors import Invalid, NotFound, Problem
from control.model.json_values import Json, write_path
from control.model.kinds import KindClass, KindRegistry, installed_kinds
from control.model.pipelines import Pipeline, ScheduleSpec

STDIN: Final = "-"


class PipelineFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a user's, and how it is written."""

    name: str
    body: bytes
    yaml: bool

    @property
    def media(self) -> str:
        """Its content type."""
        return YAML if self.yaml else JSON

    def document(self) -> Document:
        """Its value; raises `Invalid`."""
        return read_yaml(self.body) if self.yaml else read_json(self.body)

    def pipeline(self, kinds: KindRegistry) -> Pipeline:
        """Its pipeline; raises `Invalid` with every problem in it."""
        return parse_pipeline(self.body, yaml=self.yaml, kinds=kinds, check_schedule=check_schedule)


def read_file(name: str) -> PipelineFile:
    """A file, or stdin for `-`; raises `UsageError`."""
    body = read_bytes(name)
    # JSON is YAML too, but its own reader is faster and stricter.
    is_json = name.lower().endswith(".json") or (name == STDIN and body.lstrip()[:1] == b"{")
    return PipelineFile(name="stdin" if name == STDIN else name, body=body, yaml=not is_json)


def read_bytes(name: str) -> bytes:
    """What is in a file, or comes on stdin for `-`; raises `UsageError`."""
    if name == STDIN:
        return sys.stdin.buffer.read()
    try:
        return Path(name).read_bytes()
    except OSError as error:
        message = f"cannot read {name}: {error.strerror}"
        raise UsageError(message) from error


def with_lines(error: Invalid, document: Document, prefix: str) -> Invalid:
    """A server's problems with what was sent as JSON, with the lines of the YAML it came from."""
    lines = {write_path(path): line for path, line in document.lines.items()}
    written = {write_path(path): text for path, text in document.written.items()}
    problems = []
    for problem in error.problems:
        path = problem.path.removeprefix(prefix).removeprefix(".")
        place, line = path, lines.get(path)
        while line is None and place:
            place = place[: max(place.rfind("."), place.rfind("["), 0)]
            line = lines.get(place)
        hint = problem.hint
        if hint is not None and hint.startswith(IN_QUOTES) and path in written:
            hint = f'{IN_QUOTES}"{written[path]}"'  # The server has seen a number only.
        problems.append(Problem(path=path, message=problem.message, hint=hint, line=line))
    problems.sort(key=lambda problem: problem.line or 0)
    return Invalid(tuple(problems), str(error) if len(problems) != 1 else None)


def kinds() -> KindRegistry:
    """The kinds installed here."""
    return installed_kinds()


def find_kind(registry: KindRegistry, name: str, version: str | None) -> KindClass:
    """One version of a kind, the newest if none is named; raises `NotFound`."""
    by_folded = {known.casefold(): known for known in registry.names()}
    known = by_folded.get(name.casefold())
    if known is None:
        if why := registry.missing(name):
            raise NotFound(why)
        message = f"no kind {name} is installed here; there are {', '.join(registry.names())}"
        raise NotFound(message)
    versions = registry.versions(known)
    if version is not None and version not in versions:
        message = f"{known} has no version {version}; there are {', '.join(versions)}"
        raise NotFound(message)
    return registry.get(known, version or versions[-1])


def params_of(kind: KindClass) -> tuple[list[Row], Json]:
    """What is known of a kind's params: a row for each, and their JSON schema."""
    (whole,), parts = msgspec.json.schema_components([kind.params])
    schema = parts[kind.params.__name__] | ({"$defs": parts} if len(parts) > 1 else {})
    required = schema.get("required", [])
    rows: list[Row] = [
        {
            "name": name,
            "required": name in required,
            "type": _type_of(about),
            "default": _default_of(about) if name not in required else None,
            "description": about.get("description"),
            "examples": " · ".join(
                msgspec.json.encode(example).decode() for example in about.get("examples", ())
            ),
        }
        for name, about in schema.get("properties", {}).items()
    ]
    del whole
    return sorted(rows, key=lambda row: not row["required"]), schema


def _type_of(about: dict[str, Json]) -> str:
    union = about.get("anyOf")
    if isinstance(union, list):
        words = [_type_of(each) for each in union if isinstance(each, dict)]
        words = [word for word in words if word != "null"]
        return " | ".join(dict.fromkeys(words))
    if isinstance(about.get("$ref"), str):
        return "object"
    words_allowed = about.get("enum")
    if isinstance(words_allowed, list):
        return " | ".join(msgspec.json.encode(each).decode() for each in words_allowed)
    word = about.get("type")
    return word if isinstance(word, str) else "any"


def _default_of(about: dict[str, Json]) -> str | None:
    default = about.get("default")
    return None if default is None else msgspec.json.encode(default).decode()


def fire_times(spec: ScheduleSpec, *, after_ms: int, until_ms: int, limit: int) -> list[int]:
    """When a schedule fires; raises `Invalid`."""
    problems = tuple(
        Problem(path=field, message=message)
        for field, message in check_schedule(spec.cron, spec.timezone)
    )
    if problems:
        raise Invalid(problems)
    return cron.nominal_times(spec, after_ms=after_ms, until_ms=until_ms, limit=limit)


def local_time(at_ms: int, timezone: str) -> str:
    """An instant as the clocks there show it."""
    local = datetime.fromtimestamp(at_ms / 1000, tz=ZoneInfo(timezone))
    return local.strftime("%a %Y-%m-%d %H:%M:%S %Z")
