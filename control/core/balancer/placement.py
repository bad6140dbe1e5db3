"""Decides whether a job can be placed now, and in which lane; or for what it has to wait."""

from control.core.balancer.fairness import bucket_of
from control.core.balancer.in_flight import InFlight
from control.core.balancer.job_queue import Cause, Queue
from control.core.balancer.quotas import Quotas
from control.core.balancer.slots import LOSS_S, Lane, Shape, Slots, length_of
from control.model.states import Speed


class Placing:
    """The rules: limits of clients, the reserve, classes of partitions, stragglers, windows."""

    def __init__(
        self,
        slots: Slots,
        outstanding: InFlight,
        quotas: Quotas,
        *,
        lend: bool,
        reserve_share: float,
    ) -> None:
        self._slots = slots
        self._outstanding = outstanding
        self._quotas = quotas
        self._lend = lend
        self._reserve_share = reserve_share

    @property
    def reserve(self) -> int:
        """Slots that slow jobs leave free."""
        total = self._slots.total
        return max(round(total * self._reserve_share), 1) if total > 1 else 0

    @property
    def slow_are_full(self) -> bool:
        """Whether slow jobs hold all slots but those that they leave free."""
        return self._outstanding.slow >= self._slots.total - self.reserve

    def place(self, queue: Queue, speed: Speed, expected_s: float, waiting: int) -> Lane | Cause:
        """A lane for the head of a queue. `waiting`: how many jobs wait altogether."""
        slots, shape = self._slots, queue.shape
        length = length_of(expected_s, speed)
        if self._quotas.is_full(queue.client):
            return Cause("client", length, shape, queue.client)
        if speed == Speed.SLOW and self.slow_are_full:
            return Cause("reserve", length, shape)
        other = Speed.FAST if speed == Speed.SLOW else Speed.SLOW
        lane = slots.free_lane(speed, shape)
        # Walls around nothing would keep it out for ever.
        only = None if self._lend or not slots.in_class[speed] else speed
        if lane is None and only is None:
            lane = slots.free_lane(other, shape)
        if lane is None and slots.straggling:
            patience_s = self._patience_s(shape, waiting)
            lane = slots.straggling_lane(shape, expected_s, patience_s, only)
            if lane is None:
                return Cause("straggler", f"{length} {bucket_of(expected_s)}", shape)
        if lane is None and speed == Speed.FAST:
            lane = slots.window_lane(shape, expected_s, only)
        return lane if lane is not None else Cause("slots", length, shape)

    def _patience_s(self, shape: Shape, waiting: int) -> float:
        """How much longer a job may take on a straggler: as long as it would wait for another."""
        slots, outstanding = self._slots, self._outstanding
        if not slots.any_can(shape, well=True):
            return float("inf")
        placed, healthy = len(outstanding.jobs), slots.healthy
        if not placed or not healthy:
            return LOSS_S
        next_free_s = outstanding.expected_s / placed / healthy
        return max(LOSS_S, next_free_s * waiting)
