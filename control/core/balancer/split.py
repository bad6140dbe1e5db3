"""Decides which partitions are for slow jobs: a share that is set, or one that follows the mix."""

from collections.abc import Sequence
from typing import Final

from control.core.fleet.partition_classes import partition_classes
from control.model.states import Speed

_FOLLOWS: Final = 0.25  # Of the way to where the mix is, each time it is looked at.


class PartitionSplit:
    """The class of each partition. `share`: of the partitions, for slow jobs; None: it follows."""

    def __init__(self, partitions: int, share: float | None, start: float) -> None:
        self._partitions = partitions
        self.auto = share is None
        self._wanted = self.share = start if share is None else share
        self.classes: tuple[Speed, ...] = partition_classes(partitions, self.share)

    def set(self, share: float | None) -> None:
        """Divide the partitions anew; None: from now on the share follows the mix."""
        self.auto = share is None
        if share is not None:
            self._wanted = self.share = share
            self.classes = partition_classes(self._partitions, share)

    def follow(self, samples: Sequence[tuple[float, float]], threshold_s: float) -> bool:
        """Look at the mix: expected seconds, and how many jobs. True: the classes are others now.

        Slow jobs get the share that they are of the work. The share moves once the mix is a whole
        partition away, so that one on the brink does not go back and forth.
        """
        work = sum(seconds * jobs for seconds, jobs in samples)
        if not self.auto or not work:
            return False
        slow = sum(seconds * jobs for seconds, jobs in samples if seconds >= threshold_s)
        self._wanted += _FOLLOWS * (slow / work - self._wanted)
        if abs(self._wanted - self.share) * self._partitions < 1:
            return False
        self.share, before = self._wanted, self.classes
        self.classes = partition_classes(self._partitions, self.share)
        return self.classes != before
