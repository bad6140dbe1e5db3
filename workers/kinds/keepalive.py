"""Owns when a peer that is gone is noticed: after a minute, also where nothing is sent."""

import socket
from typing import Final

_TIMES: Final = {
    "TCP_KEEPIDLE": 30,  # Seconds without a packet,
    "TCP_KEEPINTVL": 10,  # between which the peer is probed
    "TCP_KEEPCNT": 3,  # so often.
}
# As `setsockopt` takes them; not every system has each.
KEEPALIVE: Final = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in _TIMES.items()
        if hasattr(socket, name)
    ),
)
