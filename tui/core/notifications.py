"""Owns what the console said: the flash line, and the list of all of it."""

import msgspec

from tui.core.spans import Look


class FlashNotice(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was said in the flash line. `line`: the `tpctl` line that does the same."""

    at_ms: int
    text: str
    look: Look = ""
    line: str = ""
