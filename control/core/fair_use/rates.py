"""Decides how often something may happen: token buckets, by client or network address.

Kept as one instant for each key, the one at which its bucket is full again (the generic cell rate
algorithm of ITU-T I.371). The table is bounded: full buckets are forgotten first, then the fullest.
"""

import ipaddress
from collections import OrderedDict
from functools import lru_cache
from typing import Final

_IPV6_NETWORK_BITS: Final = 64  # One host of IPv6 has so many addresses: they count as one.


class Rates:
    """Buckets of `burst` tokens that fill at `per_s` tokens a second; at most `keys_max` keys."""

    def __init__(self, *, per_s: float, burst: int, keys_max: int) -> None:
        self._step_s = 1 / per_s
        self._depth_s = burst / per_s
        self._keys_max = keys_max
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at)

    def wait_s(self, key: str, now: float) -> float:
        """Seconds until there is a token for this key; 0: there is one."""
        full_at = self._full_at.get(key, now)
        # A billionth: sums of steps are rounded.
        late = full_at + self._step_s - now - self._depth_s
        return late if late > 1e-9 else 0.0  # noqa: PLR2004

    def take(self, key: str, now: float) -> None:
        """Take a token; a bucket is never more than empty."""
        full_at = max(self._full_at.get(key, now), now) + self._step_s
        self._full_at[key] = min(full_at, now + self._depth_s)
        self._full_at.move_to_end(key)
        if len(self._full_at) > self._keys_max:
            self._evict(now)

    def give_back(self, key: str, now: float) -> None:
        """Put a token back that was taken for what turned out to be right."""
        full_at = self._full_at.get(key)
        if full_at is not None:
            self._full_at[key] = max(full_at - self._step_s, now)

    def _evict(self, now: float) -> None:
        full = [key for key, full_at in self._full_at.items() if full_at <= now]
        for key in full:
            del self._full_at[key]
        if not full:
            del self._full_at[min(self._full_at, key=self._full_at.__getitem__)]


@lru_cache(maxsize=1_024)
def network_of(host: str) -> str:
    """The key of an address: itself, or its /64 for IPv6; text that is no address as it is."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if address.version == 4:  # noqa: PLR2004 - Of the protocol.
        return str(address)
    mapped = address.ipv4_mapped
    if mapped is not None:
        return str(mapped)
    return str(ipaddress.ip_network((address, _IPV6_NETWORK_BITS), strict=False))
