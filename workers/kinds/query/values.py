"""Owns the lossless JSON form of what databases return; `docs/kinds/query.md` has the table.

JSON has no dates, bytes, NaN, or exact decimals, and many of its readers know doubles only.
"""

import base64
import datetime
import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

import msgspec

from control.model import limits

_TIMESTAMP: Final = re.compile(
    r"(?P<date>\d{4,}-\d\d-\d\d) (?P<time>\d\d:\d\d:\d\d(?:\.\d+)?)(?P<zone>[+-]\d\d(?::?\d\d)*)?"
)
_HOURS_ONLY: Final = 3


def json_form(value: object) -> object:
    """What `msgspec.json.encode` writes so that nothing of the value is lost."""
    match value:
        case None | bool() | str():
            form: object = value
        case msgspec.Raw():
            form = value if _can_be_read(value) else bytes(value).decode(errors="replace")
        case int():
            form = value if abs(value) < limits.NUMBER_MAX else str(value)
        case float():
            form = value if math.isfinite(value) else _not_finite(value)
        case Decimal():
            form = format(value, "f") if value.is_finite() else _not_finite(float(value))
        case bytes():
            form = {"base64": base64.b64encode(value).decode()}
        case datetime.timedelta():
            form = clock_form(value)
        case datetime.date() | datetime.time():
            form = value.isoformat()
        case list() | tuple():
            form = [json_form(each) for each in value]
        case Mapping():
            form = {str(key): json_form(each) for key, each in value.items()}
        case _:
            form = str(value)
    return form


def timestamp_form(text: str) -> str:
    """A timestamp as RFC 3339 writes it; as the database does if it is BC, or infinite."""
    match = _TIMESTAMP.fullmatch(text)
    if match is None:
        return text
    zone = match["zone"] or ""
    return f"{match['date']}T{match['time']}{zone}{':00' if len(zone) == _HOURS_ONLY else ''}"


def clock_form(value: datetime.timedelta) -> str:
    """Hours, minutes, and seconds, as MySQL writes its TIME, which may be longer than a day."""
    sign, rest = ("-", -value) if value < datetime.timedelta(0) else ("", value)
    minutes, second = divmod(rest.days * 86_400 + rest.seconds, 60)
    hours, minute = divmod(minutes, 60)
    fraction = f".{rest.microseconds:06}" if rest.microseconds else ""
    return f"{sign}{hours:02}:{minute:02}:{second:02}{fraction}"


def _can_be_read(json: msgspec.Raw) -> bool:
    """Databases take more for JSON than its readers do: NaN, 1e999, numbers of 5,000 digits."""
    try:
        msgspec.json.decode(json)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False
    return True


def _not_finite(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"
