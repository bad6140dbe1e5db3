"""Decides which view is the one before, and the one after."""

from typing import Final

_MOST: Final = 50


class ViewHistory:
    """The views as they were gone to, and where among them one is."""

    def __init__(self, first: str) -> None:
        self._gone_to = [first]
        self._at = 0

    def visit(self, name: str) -> None:
        """Go to a view: those that came after the last one are forgotten."""
        del self._gone_to[self._at + 1 :]
        self._gone_to.append(name)
        del self._gone_to[:-_MOST]
        self._at = len(self._gone_to) - 1

    def step(self, way: int) -> str | None:
        """Back or forward, to this view; None: there is none."""
        if not 0 <= self._at + way < len(self._gone_to):
            return None
        self._at += way
        return self._gone_to[self._at]

    @property
    def other(self) -> str | None:
        """The view before this one, or else the one after it; None: there is only this one."""
        others = self._gone_to[max(self._at - 1, 0) :]
        return next((name for name in others if name != self._gone_to[self._at]), None)
