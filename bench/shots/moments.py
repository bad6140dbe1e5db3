"""Owns the time of the made-up system: a Thursday at noon, three days before clocks go back."""

from typing import Final

from control.model.times import from_rfc3339, to_rfc3339

NOW_MS: Final = from_rfc3339("2026-10-22T12:41:07Z")


def at(seconds: float) -> str:
    """So many seconds from now."""
    return to_rfc3339(NOW_MS + round(seconds * 1000))


def maybe(seconds: float | None) -> str | None:
    """The same, or nothing."""
    return None if seconds is None else at(seconds)
