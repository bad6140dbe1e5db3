"""Owns how the demo is printed: sections, lines, and one live line on a terminal."""

import os
import shutil
import textwrap
import time
from typing import Final

_BOLD, _DIM, _PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[0m"
_INDENT: Final = "   "
_COLUMNS_MAX: Final = 100
_CLEAR: Final = "\r\x1b[K"
_EVERY_S: Final = 5.0  # Where there is no terminal, the live line is a line now and then.
_TERMINAL_EVERY_S: Final = 0.2


class DemoPrinter:
    """Prints. On a terminal the live line is the last one, and is drawn again in its place."""

    def __init__(self, *, terminal: bool) -> None:
        self._terminal = terminal
        self._styled = terminal and not os.environ.get("NO_COLOR")
        self._began = self._drawn = time.monotonic()
        self._live = False

    @property
    def seconds(self) -> float:
        """Since the demo began."""
        return time.monotonic() - self._began

    def heading(self, text: str) -> None:
        """A section begins."""
        self._print("")
        self._print(self._style(_BOLD, text))

    def line(self, text: str) -> None:
        """What happened."""
        for part in textwrap.wrap(text, min(self._columns, _COLUMNS_MAX) - len(_INDENT)):
            self._print(_INDENT + part)

    def command(self, text: str) -> None:
        """What a person may copy: in one line, however long."""
        self._print(_INDENT + text)

    def dim(self, text: str) -> None:
        """What another program printed."""
        width = self._columns - len(_INDENT) if self._terminal else len(text)
        self._print(_INDENT + self._style(_DIM, text[:width]))

    def live(self, text: str) -> None:
        """What is the case right now."""
        now = time.monotonic()
        if now - self._drawn < (_TERMINAL_EVERY_S if self._terminal else _EVERY_S):
            return
        self._drawn = now
        text = f" {self.seconds:3.0f} s  {text}"
        if self._terminal:
            print(_CLEAR + self._style(_DIM, text[: self._columns - 1]), end="", flush=True)
            self._live = True
        else:
            print(text, flush=True)

    def end_live(self) -> None:
        """Take the live line away."""
        if self._live:
            print(_CLEAR, end="", flush=True)
            self._live = False

    @property
    def _columns(self) -> int:
        return shutil.get_terminal_size().columns

    def _print(self, text: str) -> None:
        self.end_live()
        print(text, flush=True)

    def _style(self, style: str, text: str) -> str:
        return f"{style}{text}{_PLAIN}" if self._styled else text
