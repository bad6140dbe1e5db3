"""Decides how values look in log lines: whatever others wrote is escaped, cut, and on one line.

Client ids, worker names, paths, and reasons come from outside, also before any login: no control
character of theirs reaches a terminal, no newline begins a line that looks like one of ours.
"""

from collections.abc import MutableMapping
from typing import Final

from control.model import limits
from control.model.display_text import clean

_TRACES: Final = frozenset({"exception", "error", "stack"})
_INDENT: Final = "\n    "


def escape_values(
    _logger: object, _method: str, event: MutableMapping[str, object]
) -> MutableMapping[str, object]:
    """Escape each value of a log event; a processor of structlog, the last before the renderer."""
    for name, value in event.items():
        if value is None or isinstance(value, bool | int | float):
            continue
        text = value if isinstance(value, str) else str(value)
        if name in _TRACES:
            lines = cut(text, limits.LOG_TRACE_CHARS_MAX).splitlines()
            event[name] = _INDENT.join(clean(line) for line in lines)
        else:
            event[name] = clean(cut(text, limits.LOG_VALUE_CHARS_MAX))
    return event


def cut(text: str, most: int) -> str:
    """Text of at most so many characters, and how many were left out."""
    left_out = len(text) - most
    return text if left_out <= 0 else f"{text[:most]}… ({left_out} characters left out)"
