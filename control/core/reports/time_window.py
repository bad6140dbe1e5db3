"""Decides what the text of a reports' window means: `15m`, `1h`, `24h`, `7d`, or seconds."""

import re
from typing import Final

from control.model import limits
from control.model.errors import Invalid, Problem

_WINDOW: Final = re.compile(r"(\d{1,12}(?:\.\d{1,3})?)(s|m|h|d|w)?", re.ASCII)
_UNIT_MS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_RIGHT: Final = "write a number with s, m, h, d or w, such as 15m, 24h or 7d; bare: seconds"


def window_ms(text: str) -> int:
    """How far back a report looks, in milliseconds; raises `Invalid`."""
    match = _WINDOW.fullmatch(text.strip())
    if not match:
        raise _refusal(f"{text[: limits.NAME_CHARS_MAX]!r} is not a window of time")
    length_ms = round(float(match[1]) * _UNIT_MS[match[2] or "s"])
    if length_ms < _UNIT_MS["s"]:
        raise _refusal("a window is at least 1 second")
    if length_ms > limits.WINDOW_S_MAX * _UNIT_MS["s"]:
        raise _refusal(f"a window is at most {limits.WINDOW_S_MAX // 86_400} days")
    return length_ms


def _refusal(message: str) -> Invalid:
    return Invalid((Problem(path="window", message=message, hint=_RIGHT),))
