"""Decides how text from elsewhere and numbers look to a person, and that none of it is a command.

Names, reasons, and logs are written by others: no control character of theirs reaches a terminal.
"""

import codecs
import re
from typing import Final

from control.model.times import from_rfc3339

# DEL, C1, what turns the direction of text round, and halves of characters: JSON allows them.
_HIDDEN: Final = r"\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_FOR_JSON: Final = re.compile(f"[{_HIDDEN}]")
_UNSEEN: Final = re.compile(rf"[\x00-\x1f{_HIDDEN}]")
_SPACES: Final = re.compile(r"[\t\n\r]+")
_COLOUR: Final = r"\x1b\[[0-9;:]*m"
_SEQUENCE: Final = re.compile(
    rf"(?P<colour>{_COLOUR})"
    r"|\x1b\[[0-?]*[ -/]*[@-~]"  # A control sequence.
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)"  # A text for the terminal, such as its title.
    r"|\x1b[ -/]*[0-~]"
    r"|\r\n|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)
# What may become one of those with the next piece of text.
_UNFINISHED: Final = re.compile(
    r"(?:\x1b(?:\[[0-?]*[ -/]*|[\]PX^_][^\x07\x1b]*\x1b?|[ -/]*)?|\r)\Z"
)
_HELD_CHARS_MAX: Final = 4096
RESET: Final = "\x1b[0m"

_MINUTE_S: Final = 60
_HOUR_S: Final = 3_600
_DAY_S: Final = 86_400
_MANY_DAYS: Final = 10
_PRECISE_BELOW_S: Final = 10
_WHOLE_FROM_S: Final = 100
_KIB: Final = 1024


def clean(text: str) -> str:
    """Text for one line of a terminal: what cannot be seen is written out."""
    return _UNSEEN.sub(_written_out, _SPACES.sub(" ", text))


def clean_json(text: str) -> str:
    """JSON for a terminal; the same value."""
    return _FOR_JSON.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _written_out(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"  # noqa: PLR2004 - one byte.


class LogCleaner:
    """Log text for a terminal, piece by piece: colours stay, other sequences do not."""

    def __init__(self, *, colour: bool) -> None:
        self._colour = colour
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""

    def feed(self, piece: bytes) -> str:
        """What of it can be shown now."""
        text = self._held + self._decoder.decode(piece)
        match = _UNFINISHED.search(text)
        end = match.start() if match and len(text) - match.start() <= _HELD_CHARS_MAX else len(text)
        self._held = text[end:]
        return _SEQUENCE.sub(self._kept, text[:end])

    def finish(self) -> str:
        """The rest."""
        text = self._held + self._decoder.decode(b"", final=True)
        self._held = ""
        return _SEQUENCE.sub(self._kept, text)

    def _kept(self, match: re.Match[str]) -> str:
        if match["colour"]:
            return match[0] if self._colour else ""
        return "\n" if match[0].startswith("\r") else ""


def seconds(value: float) -> str:
    """A length of time: `0.35s`, `12.5s`, `3m20s`, `2h05m`, `4d03h`."""
    if value < _PRECISE_BELOW_S:
        return f"{value:.2f}s"
    if value < _MINUTE_S:
        return f"{value:.1f}s"
    return _coarse(round(value))


def _coarse(whole: int) -> str:
    if whole < _MINUTE_S:
        return f"{whole}s"
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S}m{whole % _MINUTE_S:02d}s"
    if whole < _DAY_S:
        return f"{whole // _HOUR_S}h{whole % _HOUR_S // _MINUTE_S:02d}m"
    days = whole // _DAY_S
    return f"{days}d" if days >= _MANY_DAYS else f"{days}d{whole % _DAY_S // _HOUR_S:02d}h"


def relative(at: str, now_ms: int) -> str:
    """An instant as seen from now: `5m10s` ago, or `in 2h00m`."""
    try:
        away_ms = now_ms - from_rfc3339(at)
    except ValueError:
        return clean(at)
    if away_ms < 0:
        return f"in {_coarse(-away_ms // 1000)}"
    return _coarse(away_ms // 1000)


def since(at: str, now_ms: int) -> str:
    """The same in a sentence: `5m10s ago`, `in 2h00m`."""
    shown = relative(at, now_ms)
    return shown if shown.startswith("in ") else f"{shown} ago"


def size(count: int) -> str:
    """A number of bytes: `0`, `512`, `2.0K`, `3.4M`."""
    value, unit = float(count), ""
    for larger in ("K", "M", "G"):
        if value < _KIB:
            break
        value, unit = value / _KIB, larger
    return f"{value:.1f}{unit}" if unit else str(count)


def number(value: float) -> str:
    """A number of something, short."""
    if isinstance(value, int) or value.is_integer():
        return str(int(value))
    return f"{value:.0f}" if abs(value) >= _WHOLE_FROM_S else f"{value:.3g}"
