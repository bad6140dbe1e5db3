"""Decides how far apart the marks of a time axis are, and how they are written."""

from typing import Final

_MINUTE_S: Final = 60
_HOUR_S: Final = 3_600
_DAY_S: Final = 86_400
_STEPS_S: Final = (
    *(0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30),
    *(minutes * _MINUTE_S for minutes in (1, 2, 5, 10, 15, 30)),
    *(hours * _HOUR_S for hours in (1, 2, 3, 6, 12)),
    _DAY_S,
)


def step_of(least_s: float) -> float:
    """A round length of time that is not shorter than that, in seconds."""
    found = next((step for step in _STEPS_S if step >= least_s), None)
    return _DAY_S * (int(least_s // _DAY_S) + 1) if found is None else found


def written(seconds: float) -> str:
    """A multiple of such a step, without what is zero: `0s`, `0.5s`, `90s`, `5m`, `1h30m`, `2d`."""
    whole = round(seconds)
    if seconds < _MINUTE_S:
        return f"{seconds:.1f}s" if abs(seconds - whole) > 0.01 else f"{whole}s"  # noqa: PLR2004
    pieces = []
    for unit, size in (("d", _DAY_S), ("h", _HOUR_S), ("m", _MINUTE_S), ("s", 1)):
        number, whole = divmod(whole, size)
        if number:
            pieces.append(f"{number}{unit}")
    return "".join(pieces)
