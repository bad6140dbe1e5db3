"""Owns the templates in `params` and `env`: their syntax, what they name, how they are filled in.

A template is `${{ PATH }}` or `${{ PATH ?? DEFAULT }}`. A path starts with `run` (the run's
input), `jobs` (the outputs of the jobs waited for), `states` (how those ended), or `this` (what the
job knows of its run), and goes on with `.name`, `[0]`, `["any key"]`, or `['any key']`. The
default, a JSON value, is for what is missing or null. What was filled in is never looked at again,
so data cannot become a template.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final, TypeAlias

import msgspec

from control.model import limits, names
from control.model.errors import Invalid, JobFailed, Problem
from control.model.json_values import Json, Path, Step, cut, show, write_path
from control.model.this import This

OPENING: Final = "${{"
_NAMES_SHOWN_MAX: Final = 10
_STEP: Final = re.compile(
    r"""\.(?P<name>[A-Za-z0-9_][A-Za-z0-9_-]*+)
      | \[\s*+(?P<index>[0-9]{1,9})\s*+\]
      | \[\s*+(?P<double>"(?:[^"\\]|\\.)*+")\s*+\]
      | \[\s*+'(?P<single>[^']*+)'\s*+\]""",
    re.VERBOSE,
)
_START: Final = re.compile(r"\$\{\{\s*+(?P<root>run|jobs|states|this)(?![A-Za-z0-9_-])")
_ELSE: Final = re.compile(r"\s*+\?\?\s*+")
_END: Final = re.compile(r"\s*+\}\}")
_LITERALS: Final = json.JSONDecoder()
_OF_JOBS: Final = frozenset({"jobs", "states"})


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """One template of a text: where it stands, and the position in the job's input it names.

    `default`: JSON, for what is missing or null there; None: there is no default.
    """

    start: int
    end: int
    path: Path
    default: str | None = None

    @property
    def source(self) -> tuple[Path, str | None]:
        """What gives the value: templates that have the same one have the same value."""
        return self.path, self.default

    @property
    def job(self) -> str | None:
        """The job whose output or state is named, if it is one job's."""
        if self.path[0] in _OF_JOBS and len(self.path) > 1:
            return str(self.path[1])
        return None


Encode: TypeAlias = Callable[[Reference, str], str]
"""Makes of a value's text what may be inserted for its template; raises JobFailed."""


def references(text: str) -> tuple[Reference, ...]:
    """Find every template of a text; raises Invalid with every one that cannot be read."""
    found: list[Reference] = []
    problems: list[Problem] = []
    at = text.find(OPENING)
    while at >= 0:
        read = _read(text, at)
        if isinstance(read, Reference):
            found.append(read)
            at = text.find(OPENING, read.end)
        else:
            problems.append(read)
            at = text.find(OPENING, at + len(OPENING))
        if len(problems) >= limits.PROBLEMS_MAX:
            break
    if problems:
        raise Invalid(tuple(problems))
    return tuple(found)


def is_whole(text: str) -> bool:
    """Tell whether a text is exactly one template, which takes the type of what it names."""
    if not (text.startswith(OPENING) and text.endswith("}}")):
        return False
    read = _read(text, 0)
    return isinstance(read, Reference) and read.end == len(text)


def render(value: Json, data: Mapping[str, Json]) -> Json:
    """Fill in every string inside `value`; raises JobFailed when a template names nothing.

    A string that is exactly one template becomes what it names, of whatever type. Inside other
    text a string is inserted as it is and anything else as JSON. Keys of objects are left alone.
    """
    return Renderer(data).value(value)


class Renderer:
    """Fills in templates from one job's input, up to a size: few bytes can name many."""

    def __init__(self, data: Mapping[str, Json]) -> None:
        self._data: dict[str, Json] = dict(data)
        self._values: dict[tuple[Path, str | None], Json] = {}
        self._texts: dict[tuple[Path, str | None], str] = {}
        self._chars = 0
        # Values that reach the job's process through its environment, by the variable's name.
        self.variables: dict[str, str] = {}

    def value(self, value: Json) -> Json:
        """A value with every string inside it filled in; raises JobFailed."""
        if isinstance(value, str):
            return self._whole(value) if is_whole(value) else self.text(value)
        if isinstance(value, list):
            return [self.value(item) for item in value]
        if isinstance(value, dict):
            return {key: self.value(item) for key, item in value.items()}
        return value

    def text(self, text: str, encode: Encode | None = None) -> str:
        """A string that stays a string; `encode` fits each value to where its template stands."""
        return "".join(self._pieces(text, encode)) if OPENING in text else text

    def variable(self, reference: Reference, text: str) -> str:
        """The environment variable that will hold the value of a template; raises JobFailed."""
        name = variable_name(reference)
        if name not in self.variables:
            value = self._text_of(reference, text)
            self._spend(len(value))
            self.variables[name] = _passable(value, _template(reference, text))
        return name

    def _pieces(self, text: str, encode: Encode | None) -> Iterator[str]:
        try:
            templates = references(text)
        except Invalid as error:
            raise JobFailed(str(error)) from error
        at = 0
        for reference in templates:
            yield text[at : reference.start]
            inserted = self._text_of(reference, text)
            if encode is not None:
                inserted = encode(reference, inserted)
            self._spend(len(inserted))
            yield inserted
            at = reference.end
        yield text[at:]

    def _whole(self, text: str) -> Json:
        reference = references(text)[0]
        self._spend(len(self._text_of(reference, text)))
        return self._value_of(reference, text)

    def _text_of(self, reference: Reference, text: str) -> str:
        source = reference.source
        if source not in self._texts:
            value = self._value_of(reference, text)
            plain = value if isinstance(value, str) else msgspec.json.encode(value).decode()
            self._texts[source] = plain
        return self._texts[source]

    def _value_of(self, reference: Reference, text: str) -> Json:
        source = reference.source
        if source not in self._values:
            self._values[source] = _look_up(self._data, reference, _template(reference, text))
        return self._values[source]

    def _spend(self, chars: int) -> None:
        self._chars += chars
        if self._chars > limits.JOB_INPUT_BYTES_MAX:
            msg = f"the templates fill in more than {limits.JOB_INPUT_BYTES_MAX} characters"
            raise JobFailed(msg)


def variable_name(reference: Reference) -> str:
    """The environment variable of a template's value: templates that name the same share it."""
    digest = hashlib.sha256(msgspec.json.encode(reference.source)).hexdigest()
    return f"{names.ENV_VALUE_PREFIX}{digest[:16].upper()}"


def _passable(value: str, template: str) -> str:
    """The value, if a system can pass it in an environment variable; raises JobFailed."""
    size = len(value.encode(errors="replace"))
    if size > limits.ENV_VALUE_BYTES_MAX:
        msg = (
            f"the value of {template} has {size} bytes; at most {limits.ENV_VALUE_BYTES_MAX} fit "
            f"into a command: read it from the file ${names.ENV_INPUT} instead"
        )
        raise JobFailed(msg)
    if "\0" in value:
        msg = (
            f"the value of {template} contains a NUL character, which no command can take: read "
            f"it from the file ${names.ENV_INPUT} instead"
        )
        raise JobFailed(msg)
    return value


def _template(reference: Reference, text: str) -> str:
    return cut(text[reference.start : reference.end])


def _read(text: str, at: int) -> Reference | Problem:
    """Read the template that opens at `at`."""
    start = _START.match(text, at)
    if start is None:
        return _unreadable(text, at, "a template starts with run, jobs, states, or this")
    steps: list[Step] = [start["root"]]
    at_step = start.end()
    while step := _STEP.match(text, at_step):
        try:
            steps.append(_step_of(step))
        except ValueError:
            return _unreadable(text, at, "a key in double quotes is written like a JSON string")
        at_step = step.end()
    default = None
    if separator := _ELSE.match(text, at_step):
        try:
            _, at_step = _LITERALS.raw_decode(text, separator.end())
            default = text[separator.end() : at_step]
            msgspec.json.decode(default)  # That one takes no NaN, nor half a surrogate pair.
        except (ValueError, msgspec.DecodeError, RecursionError):
            return _unreadable(text, at, 'after ?? comes a JSON value, such as 5 or "none"')
    end = _END.match(text, at_step)
    if end is None:
        return _unreadable(text, at, None)
    if wrong := _unknown_part(steps):
        return _unreadable(text, at, wrong)
    return Reference(start=at, end=end.end(), path=tuple(steps), default=default)


def _unknown_part(steps: list[Step]) -> str | None:
    """Why the second step of a path can name nothing, whatever the input."""
    root, *rest = steps
    if rest and root in _OF_JOBS and isinstance(rest[0], int):
        return "jobs are named, not numbered"
    if rest and root == "this" and rest[0] not in This.__struct_fields__:
        return f"this has {', '.join(This.__struct_fields__)}"
    return None


def _step_of(step: re.Match[str]) -> Step:
    if step["index"] is not None:
        return int(step["index"])
    if step["double"] is not None:
        key = str(json.loads(step["double"]))
        key.encode()  # Half a surrogate pair is no text, and names nothing.
        return key
    return step["name"] if step["name"] is not None else str(step["single"])


def _unreadable(text: str, at: int, why: str | None) -> Problem:
    closing = text.find("}}", at)
    shown = show(text[at : closing + 2] if closing >= 0 else text[at:])
    if closing < 0:
        why = "its closing }} is missing"
    return Problem(
        path="",
        message=f"cannot read the template {shown}" + (f": {why}" if why else ""),
        hint="write ${{ run.x }}, ${{ jobs.NAME.x[0] }}, ${{ jobs['NAME']['any key'] }}, "
        "or ${{ run.x ?? 5 }}",
    )


def _look_up(data: dict[str, Json], reference: Reference, template: str) -> Json:
    here: Json = data
    default = None if reference.default is None else msgspec.json.decode(reference.default)
    for depth, step in enumerate(reference.path):
        match here, step:
            case dict(), str() if step in here:
                here = here[step]
            case list(), int() if step < len(here):
                here = here[step]
            case _ if reference.default is not None:
                return default
            case _:
                exists = _what_exists(here, reference.path[:depth])
                msg = f"the template {template} names nothing: {exists}"
                raise JobFailed(msg)
    return default if here is None else here


def _what_exists(here: Json, path: Path) -> str:
    where = write_path(path) if path else "the job's input"
    if isinstance(here, dict):
        if not here:
            return f"{where} is empty"
        names = ", ".join(write_path((key,)) for key in list(here)[:_NAMES_SHOWN_MAX])
        return f"{where} has {names}" + (", …" if len(here) > _NAMES_SHOWN_MAX else "")
    if isinstance(here, list):
        last = f", [0] to [{len(here) - 1}]" if here else ""
        return f"{where} is a list of {len(here)}{last}"
    return f"{where} is {show(here)}, which has no parts"
