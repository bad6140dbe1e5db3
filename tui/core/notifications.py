"""Owns the console's notices: the newest is shown in the flash line, the others in a list."""

from collections.abc import Callable
from typing import Final

import msgspec

from tui.core.spans import Look, Span, shown

_FLASH_MS: Final = 6_000
_NOTICES_MAX: Final = 200


class FlashNotice(msgspec.Struct, frozen=True, kw_only=True):
    """A notice in the flash line. `line`: the `tpctl` line that does the same."""

    at_ms: int
    text: str
    look: Look = ""
    line: str = ""


class Notifications:
    """The last notices, oldest first. Times are milliseconds of `now_ms`."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self.all: list[FlashNotice] = []

    def add(self, text: str, look: Look = "", line: str = "") -> None:
        """Show a notice in the flash line, and store it in the list."""
        self.all.append(FlashNotice(at_ms=self._now_ms(), text=shown(text), look=look, line=line))
        del self.all[:-_NOTICES_MAX]

    @property
    def in_flash_line(self) -> FlashNotice | None:
        """The notice that is shown now; None: the last one is too old."""
        if not self.all or self._now_ms() - self.all[-1].at_ms > _FLASH_MS:
            return None
        return self.all[-1]

    def flash(self) -> Span | None:
        """The text of the flash line; None: it is empty."""
        notice = self.in_flash_line
        if notice is None:
            return None
        text = f"{notice.text}  {notice.line}" if notice.line else notice.text
        return (text, notice.look or "accent")

    def line(self) -> str:
        """The `tpctl` line that the flash line shows; empty: none."""
        notice = self.in_flash_line
        return "" if notice is None else notice.line
