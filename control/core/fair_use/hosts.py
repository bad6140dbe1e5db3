"""Decides which names a request may have asked for, and pages of which origin may send it.

The threat is a page in a user's browser: one of another origin that sends requests of its own, or
one whose name was changed to resolve to our address (DNS rebinding), so that the browser takes us
for it. An attacker cannot register an address, `localhost`, or a name without a dot.
"""

import ipaddress
import re
from collections.abc import Iterable
from typing import Final

from control.model import limits

_HOST: Final = re.compile(r"(?P<name>\[[0-9A-Fa-f:.%]+\]|[^:\[\]/@\s]+)(?::(?P<port>[0-9]{1,5}))?")
_LABEL: Final = re.compile(r"[A-Za-z0-9_-]{1,63}")
_ORIGIN: Final = re.compile(r"https?://(?P<host>[^/]+)")


class Hosts:
    """The names that are right: those of `allowed` (from a setting) besides what always is."""

    def __init__(self, allowed: Iterable[str]) -> None:
        self._allowed = frozenset(name.lower().rstrip(".") for name in allowed)

    def refusal(self, host: str | None, origin: str | None) -> str | None:
        """Why a request with these headers is refused, in words; None: it is not."""
        if host is not None and not self._is_right(host):
            return (
                f"this server is not called {_shown(host)}; if it is, add that name to the "
                "setting allowed_hosts (TP_ALLOWED_HOSTS)"
            )
        if origin is None:
            return None
        match = _ORIGIN.fullmatch(origin)
        from_us = match is not None and (
            (host is not None and match["host"].lower() == host.lower())
            or self._is_listed(match["host"])
        )
        if from_us:
            return None
        return (
            f"pages of {_shown(origin)} may send nothing here; if they may, add their host to the "
            "setting allowed_hosts (TP_ALLOWED_HOSTS)"
        )

    def _is_right(self, host: str) -> bool:
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = match["name"].strip("[]").lower().rstrip(".")
        if name in self._allowed or _LABEL.fullmatch(name):
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _is_listed(self, host: str) -> bool:
        match = _HOST.fullmatch(host)
        return match is not None and match["name"].lower() in self._allowed


def _shown(text: str) -> str:
    return ascii(text[: limits.NAME_CHARS_MAX])
