"""What kinds say of a result on topics of their own, besides what every result says."""

import msgspec
from msgspec import Raw


class Column(msgspec.Struct, frozen=True):
    """A column of rows; `type`: as its database calls it."""

    name: str
    type: str


class QueryDetails(msgspec.Struct, frozen=True, kw_only=True):
    """`details` on `query_task_run_results`. `statement` has no values: they are bound.

    `rows`: the first ones. `seconds`: from sending the statement until its last row was read.
    """

    connection: str
    statement: str
    columns: list[Column]
    row_count: int | None
    rows: list[Raw]
    truncated: bool
    seconds: float


class NotificationDetails(msgspec.Struct, frozen=True, kw_only=True):
    """`details` on `notification_task_run_results`.

    `service`: as Apprise calls it, such as `E-Mail`. `size`: of the body, in bytes; `attachments`:
    those of each file. `reason`: why it was not delivered.
    """

    target: str
    service: str
    title: str
    size: int
    attachments: dict[str, int]
    delivered: bool
    reason: str | None = None
