"""Owns what a frame from the gateway can mean to a worker, and the phases of its connection."""

from enum import Enum, auto
from typing import TypeAlias

import msgspec

from control.model.worker.wire import Drain, Lease, Refused, Welcome


class Phase(Enum):
    """Where the connection stands."""

    DISCONNECTED = auto()
    GREETING = auto()  # `hello` was sent; only `welcome` or `refused` may come.
    OPEN = auto()
    REFUSED = auto()


class Assigned(msgspec.Struct, frozen=True):
    """There may be jobs to begin."""


class Stop(msgspec.Struct, frozen=True):
    """A running attempt must stop. If it still runs here, `end` is called for it, too."""

    lease: Lease
    reason: str


class Forgotten(msgspec.Struct, frozen=True):
    """The gateway has acknowledged these results: the worker may delete them."""

    leases: tuple[Lease, ...]


ProtocolEvent: TypeAlias = Assigned | Stop | Forgotten | Welcome | Refused | Drain
