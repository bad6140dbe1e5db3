"""The next 48 hours: what fires when, how many slots that needs, and one schedule."""

from typing import ClassVar, Final

from textual.app import ComposeResult

from control.model.api.schedules import SchedulePlan, ScheduleView
from control.model.api.views import Page, RunView
from tui.core.actions import Thing
from tui.core.formatting import roughly, took
from tui.core.spans import Line, Span, fit, line
from tui.core.state_symbols import LATE, PAUSED
from tui.core.tables.rows import Key, TableColumn, TableRows, figure
from tui.core.timestamps import zone_of
from tui.link.polling import PolledCall
from tui.panes import timeline
from tui.panes.schedule import schedule_detail
from tui.screens import view_queries
from tui.screens.base_view import ROWS, View
from tui.widgets.box import Lines
from tui.widgets.table import Table

_AHEAD_MS: Final = 48 * 3_600_000
_ROUND_MS: Final = 600_000
_NAME: Final = 18
_TAKES: Final = 6
_MARGIN: Final = 1 + _NAME + 1 + _TAKES + 1  # What stands before the timeline in each row.


class Schedules(View):
    """View 6."""

    name_of_view = "schedules"
    supports: ClassVar[frozenset[str]] = ROWS | {"pause", "trigger", "backfill", "zone"}

    def __init__(self) -> None:
        super().__init__()
        self._plans: dict[int, SchedulePlan] = {}
        self._late: set[int | str] = set()
        self._drawn: dict[int, tuple[object, Line]] = {}
        self._columns = 96
        self._local = False

    def body(self) -> ComposeResult:
        """The timeline, and one schedule."""
        yield Table(
            TableRows(self._table_columns(), faulty=self._is_faulty),
            id="schedules",
            well="none is paused, idle, or takes longer than it has until it fires again",
            empty="no pipeline has a schedule. `schedules:` in a pipeline's file makes one",
        )
        yield Lines(id="schedule")

    def path(self) -> list[str]:
        """With the schedule under the cursor."""
        schedule = self._schedule()
        return ["overview", "schedules", *([schedule.pipeline] if schedule else [])]

    def questions(self) -> list[PolledCall]:
        """What is planned, and what was."""
        schedule = self._schedule()
        asked = [
            view_queries.SCHEDULES,
            view_queries.timeline(self._step_ms() // 1000),
            view_queries.FORECAST,
        ]
        return [*asked, view_queries.recent_runs(schedule.pipeline)] if schedule else asked

    def paint(self, *, order: bool) -> None:
        """Draw it."""
        store = self.store
        table = self.query_one("#schedules", Table)
        self._columns = max(table.size.width - 2 - _MARGIN - 1, 12)
        self._plans = store.plans_of("timeline") or store.plans()
        # Attention knows which take longer than they have until they fire again.
        concerns = self.console.concerns()
        self._late = {each.about[1] for each in concerns if each.sign == LATE}
        step_ms = self._step_ms()
        start_ms = self.clock.now_ms // step_ms * step_ms
        zone = "UTC"
        schedule = self._schedule()
        if self._local and schedule is not None:
            zone = schedule.spec.timezone
        margin: Span = (" " * _MARGIN, "")
        hours, days = timeline.axis(
            start_ms, step_ms, self._columns, zone_of(zone), now_ms=self.clock.now_ms
        )
        forecast = store.forecast()
        above: list[Line] = [(margin, *hours)]
        if forecast is not None:
            label = f"   slots needed of {forecast.slots}"
            above.append(
                (
                    (fit(label, _MARGIN), "dim"),
                    *timeline.needed(forecast, start_ms, step_ms, self._columns),
                )
            )
        table.above = [*above, (margin, *days)]
        found = store.schedules()
        table.heading = line(
            (f"Schedules {len(found)}", "title"),
            (
                f" · next 48 h · one column {roughly(step_ms / 1000)} · times {zone} (Z: zone)",
                "dim",
            ),
        )
        table.footing = line(timeline.LEGEND)
        rows: dict[Key, ScheduleView] = {each.id: each for each in found}
        if "schedules" in store.answers:
            table.update(rows, order=order)
        self._paint_detail(schedule)

    def things(self, command: str) -> list[Thing]:
        """The schedules that are marked, or the one under the cursor."""
        del command
        table = self.query_one("#schedules", Table)
        rows: list[ScheduleView] = [table.rows.by_key[key] for key in table.chosen()]
        return [
            Thing(kind="schedule", id=each.id, words=each.pipeline, paused=each.paused)
            for each in rows
        ]

    def on_table_opened(self, event: Table.Opened) -> None:
        """The runs that it has started."""
        event.stop()
        schedule = self._schedule()
        if schedule is not None:
            self.console.navigation.open_root("runs")
            self.console.navigation.filter_view(f"pipeline:{schedule.pipeline} trigger:schedule")

    def action_zone(self) -> None:
        """Times in the schedule's own zone, or in UTC."""
        self._local = not self._local
        self.flush(order=False)

    def _is_faulty(self, each: ScheduleView) -> bool:
        """Whether it starts nothing, or takes longer than it has until it fires again."""
        return each.paused or each.reason is not None or each.id in self._late

    def _cells(self, each: ScheduleView) -> Line:
        """A schedule's row; thousands of fires are not drawn anew four times a second."""
        step_ms = self._step_ms()
        start_ms = self.clock.now_ms // step_ms * step_ms
        plan = self._plans.get(each.id)
        key = (start_ms, step_ms, self._columns, each.paused, each.expected_seconds, plan)
        found = self._drawn.get(each.id)
        if found is None or found[0] != key:
            found = (key, timeline.fires(each, plan, start_ms, step_ms, self._columns))
            self._drawn[each.id] = found
        return found[1]

    def _schedule(self) -> ScheduleView | None:
        current = self.query_one("#schedules", Table).current
        return current if isinstance(current, ScheduleView) else None

    def _step_ms(self) -> int:
        exact = _AHEAD_MS / self._columns
        return max(round(exact / _ROUND_MS), 1) * _ROUND_MS

    def _table_columns(self) -> list[TableColumn[ScheduleView]]:
        def name(each: ScheduleView) -> Span:
            if each.paused:
                return (f"{PAUSED}{each.pipeline}", "dim")
            late = each.id in self._late
            return (f"{LATE if late else ' '}{each.pipeline}", "warn" if late else "")

        def takes(each: ScheduleView) -> str:
            return "paused" if each.paused else took(each.expected_seconds)

        return [
            TableColumn(
                "PIPELINE", _NAME, name, field="pipeline", value=lambda each: each.pipeline
            ),
            figure("TAKES", _TAKES, lambda each: each.expected_seconds, takes, field="expected"),
            TableColumn("", 0, self._cells, field="cron", value=lambda each: each.spec.cron),
        ]

    def _paint_detail(self, schedule: ScheduleView | None) -> None:
        box = self.query_one("#schedule", Lines)
        if schedule is None:
            box.heading = line(("Schedule", "title"))
            box.show([])
            return
        box.heading = line((f"{schedule.pipeline}", "title"), (f"  schedule {schedule.id}", "dim"))
        box.footing = line("↵ its runs  ctrl+t trigger  p pause  B backfill")
        page = self.store.value("recent", Page)
        recent: list[RunView] = page.items if page is not None else []
        box.show(
            schedule_detail(
                schedule,
                self._plans.get(schedule.id),
                [run for run in recent if run.schedule_id == schedule.id],
                self.store.forecast(),
                max(box.size.width - 2, 10),
                now_ms=self.clock.now_ms,
            )
        )
