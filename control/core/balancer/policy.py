"""Owns what operators set of the balancer's policy, and what it decides: assignments."""

from typing import Final

import msgspec

from control.model.bus.messages import JobReady
from control.model.states import Speed

SLOW_SHARE: Final = 0.6


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What operators set."""

    partitions: int = 10
    slow_share: float | None = SLOW_SHARE  # None: it follows the mix ("auto").
    slow_threshold_s: float | None = None  # None: learned ("auto").
    lend: bool = True
    reserve_share: float = 0.05


class Assignment(msgspec.Struct, frozen=True):
    """A job to send now, and the place that is finished with that."""

    job: JobReady
    place: int
    partition: int
    worker: str
    speed: Speed
    expected_s: float
    owner: str = ""  # The client of the worker.
