"""Decides how lengths of time, counts, and parts look in a column: short, and always alike."""

from typing import Final

_MINUTE_S: Final = 60
_HOUR_S: Final = 3_600
_DAY_S: Final = 86_400
_TEN: Final = 10
_HUNDRED: Final = 100
_THOUSAND: Final = 1_000


def took(seconds: float | None) -> str:
    """A length of time: `41ms`, `1.2s`, `12.5s`, `4m12s`, `2h05m`, `4d03h`; `–`: none."""
    if seconds is None:
        return "–"
    seconds = max(seconds, 0.0)
    if seconds < 1:
        return "0s" if seconds == 0 else f"{max(round(seconds * _THOUSAND), 1)}ms"
    if round(seconds, 1) < _MINUTE_S:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S}m{whole % _MINUTE_S:02d}s"
    if whole < _DAY_S:
        return f"{whole // _HOUR_S}h{whole % _HOUR_S // _MINUTE_S:02d}m"
    return f"{whole // _DAY_S}d{whole % _DAY_S // _HOUR_S:02d}h"


def roughly(seconds: float | None) -> str:
    """The same with one unit: `0s`, `41s`, `3m`, `19m`, `3h`, `6d`; `–`: none."""
    if seconds is None:
        return "–"
    whole = round(max(seconds, 0.0))
    if whole < _MINUTE_S:
        return f"{whole}s"
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S}m"
    if whole < _DAY_S:
        return f"{whole // _HOUR_S}h"
    return f"{whole // _DAY_S}d"


def count(number: float) -> str:
    """A count: `9,910`, `18.2k`, `1.2M`."""
    if number < _TEN * _THOUSAND:
        return f"{round(number):,}"
    for unit, size in (("k", _THOUSAND), ("M", _THOUSAND**2), ("G", _THOUSAND**3)):
        if number < size * _THOUSAND:
            return (
                f"{number / size:.1f}{unit}"
                if number < size * _HUNDRED
                else f"{number / size:.0f}{unit}"
            )
    return f"{number:.0e}"


def brief(number: int) -> str:
    """A count where there is little room: `999`, `1.2k`, `31k`."""
    if number < _THOUSAND:
        return str(number)
    return count(number) if number >= _TEN * _THOUSAND else f"{number / _THOUSAND:.1f}k"


def part(value: float) -> str:
    """A part of 1 as per cent: `0%`, `2.2%`, `61%`."""
    percent = value * _HUNDRED
    if not 0 < percent < _TEN:
        return f"{percent:.0f}%"
    return f"{percent:.1f}%".replace(".0%", "%") if percent >= 1 else f"{percent:.1f}%"


def moved(value: float) -> str:
    """By which part of 1 something has changed: `+38%`, `-2%`, `0%`."""
    text = f"{value:+.0%}"
    return "0%" if text in {"+0%", "-0%"} else text


def clock(at_ms: int, *, short: bool = False) -> str:
    """The time of day in UTC: `12:41:07`, or `12:41`."""
    whole = at_ms // _THOUSAND % _DAY_S
    text = f"{whole // _HOUR_S:02d}:{whole % _HOUR_S // _MINUTE_S:02d}"
    return text if short else f"{text}:{whole % _MINUTE_S:02d}"
