"""Owns what one request holds of what clients share, from when it asks until it is answered."""

from typing import Final

from control.admission.pool import Pool
from control.core.fair_use.shares import Ask
from control.model import limits

SCOPE_KEY: Final = "taskplane.holds"  # Where the request's ASGI scope has them.

# Bytes that are held for answers: those that can be larger than BODY_FREE_BYTES.
ANSWERS: Final[dict[tuple[str, str], int]] = {
    ("GET", "/v1/doctor"): limits.ANSWER_PAGE_BYTES,
    ("GET", "/v1/pipelines"): limits.ANSWER_PAGE_BYTES,
    ("GET", "/v1/pipelines/{name}"): limits.ANSWER_ITEM_BYTES,
    ("POST", "/v1/pipelines/validate"): limits.ANSWER_ITEM_BYTES,
    ("GET", "/v1/runs"): limits.ANSWER_PAGE_BYTES,
    ("GET", "/v1/runs/{run_id}"): limits.ANSWER_ITEM_BYTES,
    ("GET", "/v1/runs/{run_id}/jobs"): limits.ANSWER_PAGE_BYTES,
    ("GET", "/v1/jobs/{job_id}"): limits.ANSWER_ITEM_BYTES,
    ("GET", "/v1/schedules"): limits.ANSWER_PAGE_BYTES,
    ("GET", "/v1/schedules/plan"): limits.ANSWER_PAGE_BYTES,
    ("GET", "/v1/scheduled-runs"): limits.ANSWER_PAGE_BYTES,
    ("GET", "/v1/forecast"): limits.ANSWER_PAGE_BYTES,
    ("GET", "/v1/workers"): limits.ANSWER_ITEM_BYTES,
    ("GET", "/v1/workers/{worker_id}/history"): limits.ANSWER_ITEM_BYTES,
    ("GET", "/v1/queues"): limits.ANSWER_ITEM_BYTES,
    ("GET", "/v1/partitions"): limits.ANSWER_ITEM_BYTES,
    ("GET", "/v1/partitions/{partition}"): limits.ANSWER_ITEM_BYTES,
    ("GET", "/v1/partitions/split"): limits.ANSWER_ITEM_BYTES,
    ("GET", "/v1/stats/pipelines"): limits.ANSWER_ITEM_BYTES,
    ("GET", "/v1/stats/slow-tasks"): limits.ANSWER_ITEM_BYTES,
    ("GET", "/v1/stats/partitions"): limits.ANSWER_ITEM_BYTES,
    ("GET", "/v1/stats/workers"): limits.ANSWER_ITEM_BYTES,
    ("POST", "/v1/stats/sql"): limits.ANSWER_QUERY_BYTES,
    ("GET", "/v1/clients"): limits.ANSWER_ITEM_BYTES,
    ("GET", "/metrics"): limits.ANSWER_ITEM_BYTES,
    ("GET", "/schema/openapi.json"): limits.ANSWER_ITEM_BYTES,
}


class Holds:
    """What a request holds; who serves the request releases all of it at its end."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: list[tuple[Pool, Ask]] = []

    async def take(self, pool: Pool, key: str, amount: int = 1) -> None:
        """Hold an amount until the request has been answered; raises `Busy`."""
        self._held.append((pool, await pool.acquire(key, amount)))

    def release(self) -> None:
        """Give everything back."""
        for pool, ask in self._held:
            pool.release(ask)
        self._held.clear()
