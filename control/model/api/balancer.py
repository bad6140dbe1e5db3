"""Owns what the balancer tells of itself: its partitions, its rules, its reasons."""

import msgspec

from control.model.numbers import Instant, Partition
from control.model.states import Speed


class LoadOfPartition(msgspec.Struct, frozen=True, kw_only=True):
    """What the balancer knows of one partition. Seconds are expected ones.

    `ahead_s`: work sent ahead, to wait at workers for a slot; `window_s`: how much may be.
    `oldest_ms`: since when its oldest job has been there.
    """

    partition: Partition
    speed: Speed
    slots: int
    running: int
    depth: int
    expected_s: float
    ahead_s: float = 0.0
    window_s: float = 0.0
    oldest_ms: Instant | None
    workers: tuple[str, ...]


class ClassChange(msgspec.Struct, frozen=True, kw_only=True):
    """The jobs of this name became slow, or fast again: by their durations, or by the threshold."""

    at_ms: Instant
    pipeline: str
    name: str
    speed: Speed
    expected_s: float
    threshold_s: float
    reason: str


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What the balancer goes by now.

    `slow_share`: of the partitions; with `split_auto` it follows the mix. `threshold_s`: from here
    on jobs are slow; with `threshold_auto` it is learned. `reserve`: slots that slow jobs leave
    free. `stragglers`: workers that take longer than others for the same jobs, and how many times.
    `changes`: the last changes of class, newest first; None: those told last.
    """

    slow_share: float
    split_auto: bool
    threshold_s: float
    threshold_auto: bool
    lend: bool
    slots: int
    reserve: int
    slow_running: int
    waiting: int
    stragglers: tuple[tuple[str, float], ...] = ()
    changes: tuple[ClassChange, ...] | None = ()


class Waits(msgspec.Struct, frozen=True, kw_only=True):
    """Why a job waits, from the policy's own records.

    `why`: as it is now, in words. `ahead`: waiting jobs that come before it in the order; with
    `at_least` there may be more. `known`: whether a job of its name has ended before. `refused`
    and `refused_ms`: what was found when the policy looked at it last, or at the first of those
    that need the same; None: it has not come to it yet.
    """

    why: str
    speed: Speed
    expected_s: float
    known: bool
    sent_ahead: bool  # So short that it may wait at a worker for a slot.
    ahead: int
    at_least: bool
    refused: str | None
    refused_ms: Instant | None
