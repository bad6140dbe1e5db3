"""The lanes of either class, what the balancer has not placed, and the lane under the cursor."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import Horizontal

from control.model.api.fleet import PartitionView, PartitionWithJobs
from control.model.api.queues import WaitingGroup
from control.model.states import Speed
from tui.core.actions import Thing
from tui.core.formatting import count
from tui.core.spans import line
from tui.core.tables.fleet import is_late_lane, partitions
from tui.core.tables.rows import Key, TableRows
from tui.core.tables.work import group_key, groups, look_of_speed
from tui.link.polling import PolledCall
from tui.panes import lanes
from tui.screens import view_queries
from tui.screens.base_view import ROWS, View
from tui.widgets.box import Lines
from tui.widgets.table import Table


class Partitions(View):
    """View 2."""

    name_of_view = "partitions"
    supports: ClassVar[frozenset[str]] = ROWS | {
        "explain",
        "log",
        "cancel",
        "raise_priority",
        "lower_priority",
    }

    def __init__(self) -> None:
        super().__init__()
        self._lane: int | None = None

    def body(self) -> ComposeResult:
        """Two lists of lanes, the groups that wait, one lane."""
        with Horizontal(classes="pair", id="lanes-pair"):
            for speed in (Speed.FAST, Speed.SLOW):
                yield Table(
                    TableRows(partitions(self.clock), faulty=is_late_lane, sort="p"),
                    id=f"lanes-{speed}",
                    empty=f"no lane is {speed} now",
                )
        yield Table(TableRows(groups()), id="groups", empty="everything that may run is placed")
        yield Lines(id="lane")

    def path(self) -> list[str]:
        """With the lane whose detail is shown."""
        return ["overview", "partitions", *([] if self._lane is None else [f"p{self._lane}"])]

    def questions(self) -> list[PolledCall]:
        """The queues and the lane."""
        lane = [] if self._lane is None else [view_queries.partition(self._lane)]
        return [view_queries.QUEUES, *lane]

    def paint(self, *, order: bool) -> None:
        """Draw it."""
        store = self.store
        for speed in (Speed.FAST, Speed.SLOW):
            own: dict[Key, PartitionView] = {
                each.partition: each for each in store.partitions.values() if each.speed == speed
            }
            table = self.query_one(f"#lanes-{speed}", Table)
            busy, slots = (
                (sum(n) for n in zip(*((e.running, e.slots) for e in own.values()), strict=True))
                if own
                else (0, 0)
            )
            table.heading = line((f"{speed.upper()} {len(own)}", look_of_speed(speed)))
            table.footing = line(f"{busy} of {slots} slots busy")
            if store.frame_ms is not None:
                table.update(own, order=order)
        queues = store.queues()
        table = self.query_one("#groups", Table)
        waiting = sum(each.jobs for each in queues.classes) if queues else 0
        table.heading = line(
            (f"Not yet placed {count(waiting)}", "title"),
            ("  in the order the balancer will take them", "dim") if not table.rows.sort else "",
        )
        more = f"  {queues.groups_more} groups more" if queues and queues.groups_more else ""
        table.footing = line(f"one row a group{more}  ↵ its run  x explain")
        if queues is not None:
            table.update({group_key(each): each for each in queues.items}, order=order)
        self._paint_lane()

    def things(self, command: str) -> list[Thing]:
        """The first job of each group."""
        table = self.query_one("#groups", Table)
        if self.table is not table:
            return []
        found: list[WaitingGroup] = [table.rows.by_key[key] for key in table.chosen()]
        if command == "cancel":
            return [Thing(kind="run", id=each.run_id, words=each.pipeline) for each in found]
        return [
            Thing(
                kind="job",
                id=each.job_id,
                words=f"{each.pipeline}/{each.job}",
                priority=each.order[3],
            )
            for each in found
        ]

    def on_table_opened(self, event: Table.Opened) -> None:
        """A group's first run, or a lane's longest job."""
        event.stop()
        found = event.table.rows.by_key.get(event.key)
        if isinstance(found, WaitingGroup):
            self.console.navigation.open_run(found.run_id, found.job_id)
        elif isinstance(found, PartitionView) and found.head is not None:
            self.console.navigation.open_object("job", found.head.job_id)

    def job_id(self) -> int | None:
        """The job under the cursor: a group's first, or a lane's longest."""
        found = self.table.current if self.table is not None else None
        if isinstance(found, WaitingGroup):
            return found.job_id
        if isinstance(found, PartitionView) and found.head is not None:
            return found.head.job_id
        return None

    def _paint_lane(self) -> None:
        focused = self.table
        if focused is not None and isinstance(focused.current, PartitionView):
            self._lane = focused.current.partition
        box = self.query_one("#lane", Lines)
        lane = None if self._lane is None else self.store.partitions.get(self._lane)
        if lane is None:
            box.heading = line(("Lane", "title"))
            box.show([line((" put the cursor on a lane to see what is in it", "dim"))])
            return
        detail = self.store.value("partition", PartitionWithJobs)
        jobs = detail.jobs if detail is not None and detail.partition == lane.partition else []
        box.heading = line((f"p{lane.partition} {lane.speed}", lane.speed.value))
        box.footing = line("↵ open its longest job  l its log  x explain")
        box.show(lanes.lane_detail(lane, jobs, max(box.size.width - 2, 10), self.clock.now_ms))
