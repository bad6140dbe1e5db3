"""Decides which windows of time there are to choose from."""

from collections.abc import Sequence
from typing import Final

WINDOWS_S: Final = {"5m": 300, "15m": 900, "1h": 3_600, "6h": 21_600, "24h": 86_400, "7d": 604_800}
"""Windows of time, and their lengths in seconds; the shortest first."""


def stepped(windows: Sequence[str], here: str, way: int) -> str:
    """The window after this one, or before it; at either end it stays."""
    return windows[min(max(windows.index(here) + way, 0), len(windows) - 1)]
