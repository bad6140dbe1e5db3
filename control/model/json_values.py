"""Owns the type of plain JSON values, and how a place inside one is written."""

import json
import re
from typing import Final, TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
Step: TypeAlias = str | int
Path: TypeAlias = tuple[Step, ...]

_PLAIN_KEY: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")
_SHOWN_CHARS_MAX: Final = 80


def write_path(path: Path) -> str:
    """Write a place as people read it: `jobs[2].stage`, `env["A.B"]`; long keys are cut."""
    written = ""
    for step in path:
        if isinstance(step, int):
            written += f"[{step}]"
        elif len(step) <= _SHOWN_CHARS_MAX and _PLAIN_KEY.fullmatch(step):
            written += f".{step}" if written else step
        else:
            written += f"[{show(step)}]"
    return written


def show(value: Json) -> str:
    """Write a value into a message: as JSON, cut where it is long."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return json.dumps(cut(value) if isinstance(value, str) else value, ensure_ascii=False)


def cut(text: str) -> str:
    """Shorten text from outside, so that no message grows with what was sent."""
    return text if len(text) <= _SHOWN_CHARS_MAX else text[: _SHOWN_CHARS_MAX - 1] + "…"
