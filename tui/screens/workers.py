"""Who runs what, the longest attempts first; and the last minutes of the one under the cursor."""

from statistics import mode
from typing import ClassVar

from textual.app import ComposeResult

from control.model.api.fleet import GONE, RunningView, WorkerView
from control.model.api.live import Watch
from control.model.api.reports import WorkerAttempt
from control.model.api.views import Page
from control.model.states import Speed
from tui.core.actions import Thing
from tui.core.failing import failing
from tui.core.spans import Span, line
from tui.core.tables.fleet import FleetContext, workers
from tui.core.tables.rows import TableRows
from tui.core.tables.work import look_of_speed
from tui.core.windows import WINDOWS_S
from tui.link.polling import PolledCall
from tui.panes.slots import slot_history
from tui.screens import view_queries
from tui.screens.base_view import ROWS, View
from tui.widgets.box import Lines
from tui.widgets.table import Table

_WINDOW = "15m"


class Workers(View):
    """View 5."""

    name_of_view = "workers"
    supports: ClassVar[frozenset[str]] = ROWS | {"explain", "log", "drain", "lane"}

    def __init__(self) -> None:
        super().__init__()
        self._fleet = FleetContext(self.clock)

    def body(self) -> ComposeResult:
        """The table, and one worker's slots."""
        yield Table(
            TableRows(workers(self._fleet), faulty=self._fleet.is_faulty, sort="need"),
            id="workers",
            well="none is sick, silent, draining, or lost; none fails more, or has a late job",
            empty="no worker is connected. `tpworker --url ws://HOST:8701 --slots 4` starts one",
        )
        yield Lines(id="slots")

    def path(self) -> list[str]:
        """With the worker under the cursor."""
        worker = self._worker()
        return ["overview", "workers", *([worker.id] if worker else [])]

    def questions(self) -> list[PolledCall]:
        """What the one under the cursor has executed."""
        worker = self._worker()
        own = [] if worker is None else [view_queries.history(worker.id, _WINDOW)]
        return [*own, view_queries.WORKER_STATS]

    def watched(self) -> Watch:
        """The workers."""
        return Watch(runs=[], jobs_of=0)

    def paint(self, *, order: bool) -> None:
        """Draw it."""
        store = self.store
        rows = dict(store.workers)
        stats = store.worker_stats()
        self._fleet.failing = failing(stats)
        self._fleet.errors = {each.worker: each.errors / (each.attempts or 1) for each in stats}
        table = self.query_one("#workers", Table)
        here = sum(each.state not in GONE for each in rows.values())
        heading: list[str | Span] = [(f"Workers {here}", "title")]
        states = [worker.state for worker in rows.values()]
        silent = sum(worker.silent_since is not None for worker in rows.values())
        sick = sum(each.sick is not None and each.state != "lost" for each in rows.values())
        for number, word in (
            (sick, "sick"),
            (silent, "silent"),
            (states.count("draining"), "draining"),
            (states.count("lost"), "lost"),
            (sum(name in self._fleet.failing for name in rows), "failing"),
        ):
            if number:
                heading.append((f" · {number} {word}", "warn"))
        for speed in (Speed.FAST, Speed.SLOW):
            own = [each for each in store.partitions.values() if each.speed == speed]
            busy, slots = sum(each.running for each in own), sum(each.slots for each in own)
            heading.append((f"   {speed} {busy}/{slots}", look_of_speed(speed)))
        table.heading = line(*heading)
        table.footing = line("D drain  ↵ its longest job")
        if store.frame_ms is not None:
            table.update(rows, order=order)
        self._paint_slots()

    def things(self, command: str) -> list[Thing]:
        """The workers that are marked, or the one under the cursor."""
        del command
        table = self.query_one("#workers", Table)
        rows: list[WorkerView] = [table.rows.by_key[key] for key in table.chosen()]
        return [
            Thing(kind="worker", id=each.id, words=f"on {each.host}")
            for each in rows
            if each.state == "connected"
        ]

    def on_table_opened(self, event: Table.Opened) -> None:
        """The job that it has run for longest."""
        event.stop()
        job = self._longest()
        if job is None:
            self.console.flash(f"{event.key} runs nothing now")
        else:
            self.console.navigation.open_object("job", job.job_id)

    def action_lane(self) -> None:
        """The partition that most of its slots serve."""
        worker = self._worker()
        if worker is None or not worker.partitions:
            self.console.flash("no worker with partitions is under the cursor", "bad")
        else:
            self.console.navigation.open_object("partition", mode(worker.partitions))

    def job_id(self) -> int | None:
        """The job that the worker under the cursor has run for longest."""
        job = self._longest()
        return None if job is None else job.job_id

    def _worker(self) -> WorkerView | None:
        current = self.query_one("#workers", Table).current
        return current if isinstance(current, WorkerView) else None

    def _longest(self) -> RunningView | None:
        worker = self._worker()
        if worker is None or not worker.running:
            return None
        return min(worker.running, key=lambda each: each.started_at or "~")

    def _paint_slots(self) -> None:
        box, worker = self.query_one("#slots", Lines), self._worker()
        if worker is None:
            box.heading = line(("Slots", "title"))
            box.show([])
            return
        box.heading = line(
            (f"{worker.id} slots, last 15 min", "title"), ("  █ busy ░ free ✗ error", "dim")
        )
        page = self.store.value("history", Page)
        attempts: list[WorkerAttempt] | None = None if page is None else page.items
        size = box.size
        box.show(
            slot_history(
                worker,
                attempts,
                max(size.width - 2, 10),
                max(size.height - 2, 1),
                now_ms=self.clock.now_ms,
                window_ms=WINDOWS_S[_WINDOW] * 1000,
            )
        )
