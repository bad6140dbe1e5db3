"""Decides which planned runs are still to come, of an answer that may be older than they are."""

from typing import Final

import msgspec

from control.model.api.schedules import PlannedView, SchedulePlan
from tui.core.timestamps import instant

_STARTS_MS: Final = 2_000  # What was due so short a while before is being started.
_OLD_MS: Final = 60_000  # An answer of before that says nothing of what is late now.


class DueRun(msgspec.Struct, frozen=True, kw_only=True):
    """A planned run. `late`: it should have started, and the server said that it had not."""

    due_ms: int
    late: bool
    run: PlannedView


def to_come(plan: SchedulePlan, now_ms: int) -> list[DueRun]:
    """The next runs of a schedule, the first first.

    What has come due since the server said so has started since then, as far as anyone knows.
    """
    said_ms = instant(plan.at) or now_ms
    found: list[DueRun] = []
    for run in plan.next:
        due_ms = instant(run.due)
        if due_ms is None:
            continue
        late = due_ms < said_ms - (0 if run.waiting else _STARTS_MS)
        if due_ms >= now_ms or (late and now_ms - said_ms < _OLD_MS):
            found.append(DueRun(due_ms=due_ms, late=late, run=run))
    return sorted(found, key=lambda each: each.due_ms)
