"""Decides which of what is wrong is still to be shown: what was acknowledged is not, for a time."""

from typing import Final

from tui.core.alerts import Concern, attention
from tui.core.failing import failing
from tui.core.store import Store

_LOOK_MS: Final = 1_000


class Concerns:
    """What is wrong, looked at once a second: it takes a look at every job that runs."""

    def __init__(self) -> None:
        self.acknowledged: dict[str, int] = {}  # Their keys, and until when.
        self._found: list[Concern] = []
        self._looked_ms = 0

    def look(self, store: Store, now_ms: int, picture_ms: int) -> None:
        """Find out anew, when it is time to. `picture_ms`: the server's time of what is shown."""
        if now_ms - self._looked_ms < _LOOK_MS:
            return
        self._looked_ms = now_ms
        self._found = attention(
            workers=store.workers.values(),
            partitions=store.partitions.values(),
            queues=store.queues(),
            counts=store.counts,
            schedules=store.schedules(),
            plans=store.plans(),
            failing=failing(store.worker_stats()),
            now_ms=picture_ms,
        )

    def found(self, now_ms: int, *, acknowledged: bool) -> list[Concern]:
        """The worst first: those that were acknowledged, or the others."""
        return [
            each
            for each in self._found
            if (self.acknowledged.get(each.key, 0) > now_ms) == acknowledged
        ]
