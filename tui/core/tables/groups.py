"""Decides which jobs of a run share a row where there are more jobs than rows."""

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from control.model.api.views import JobView
from control.model.states import State
from tui.core.state_symbols import together

_NUMBERED: Final = re.compile(r"(?P<stem>.*?[^\d_./:-])[_./:-]*\d+\Z", re.DOTALL)
_MEMBERS_MIN: Final = 2


class JobGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Jobs of one stage in one row: one job, or several whose names differ by a number."""

    name: str
    stage: str
    jobs: tuple[JobView, ...]

    @property
    def label(self) -> str:
        """What the row is called: `lint`, `unit ×20`."""
        return self.name if len(self.jobs) == 1 else f"{self.name} ×{len(self.jobs)}"

    @property
    def state(self) -> State:
        """The state they are in together."""
        counts: dict[State, int] = {}
        for job in self.jobs:
            counts[job.state] = counts.get(job.state, 0) + 1
        return together(counts)

    def has(self, job_id: int | None) -> bool:
        """Whether this job is one of them."""
        return any(job.id == job_id for job in self.jobs)


def grouped(jobs: Sequence[JobView], rows: int, selected: int | None) -> list[JobGroup]:
    """Rows for jobs in their order; the selected job always has a row of its own."""
    alone = [JobGroup(name=job.name, stage=job.stage, jobs=(job,)) for job in jobs]
    if len(alone) <= rows:
        return alone
    found: dict[tuple[str, str, int], list[JobView]] = {}
    for job in jobs:
        match = _NUMBERED.match(job.name) if job.id != selected else None
        key = (job.stage, job.name, job.id) if match is None else (job.stage, match["stem"], 0)
        found.setdefault(key, []).append(job)
    made: list[JobGroup] = []
    for (stage, stem, _), members in found.items():
        name = stem if len(members) >= _MEMBERS_MIN else members[0].name
        made.append(JobGroup(name=name, stage=stage, jobs=tuple(members)))
    return made


def shown_part(count: int, room: int, at: int | None) -> range:
    """Which of `count` rows are shown in `room`, so that row `at` is one of them."""
    room = min(max(room, 0), count)
    first = 0 if at is None else min(max(at - room // 2, 0), count - room)
    return range(first, first + room)
