"""Decides what times and lengths of time on the command line mean."""

from control.cli.errors import UsageError
from control.core.reports.time_window import window_ms
from control.model.errors import Invalid
from control.model.times import from_rfc3339, to_rfc3339


def duration_s(text: str | None) -> float | None:
    """`90`, `30s`, `10m`, `2h`; raises `UsageError`."""
    if text is None:
        return None
    try:
        return window_ms(text) / 1000
    except Invalid as error:
        problem = error.problems[0]
        message = f"{problem.message.replace('window', 'length')}; write it like 30s, 10m or 7d"
        raise UsageError(message) from error


def instant(text: str | None, now_ms: int) -> str | None:
    """An instant, or how long ago it was, as RFC 3339; raises `UsageError`."""
    if text is None:
        return None
    if text == "now":
        return to_rfc3339(now_ms)
    if "T" not in text.upper() and "-" not in text:
        try:
            return to_rfc3339(now_ms - window_ms(text))
        except Invalid as error:
            right = "2026-11-22T09:30:00Z, or how long ago it was: 30m, 24h or 7d"
            raise UsageError(f"{text!r} is not a time; write it like {right}") from error
    try:
        return to_rfc3339(from_rfc3339(text))
    except (ValueError, OverflowError) as error:
        raise UsageError(str(error)) from error
