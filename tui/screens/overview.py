"""The pulse: how much there is, what is wrong, what runs, what comes next."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical

from control.model.api.live import Note, Watch
from control.model.api.queues import WaitingReason
from control.model.api.schedules import ScheduleView
from control.model.api.views import Page, RunView
from control.model.states import State
from tui.core.actions import Thing
from tui.core.alerts import Concern, job_of
from tui.core.due import DueRun, to_come
from tui.core.formatting import brief, clock, count, roughly
from tui.core.spans import Line, Span, bar, line, paragraph
from tui.core.state_symbols import done_of, sign, stage_signs
from tui.core.tables.rows import Key, TableColumn, TableRows, figure, length
from tui.core.tables.work import ServerTime, is_faulty_run
from tui.core.timestamps import instant
from tui.link.polling import PolledCall
from tui.panes import lanes, tiles
from tui.screens import view_queries
from tui.screens.base_view import ROWS, View
from tui.widgets.box import Lines
from tui.widgets.table import Table

_ACK_MS = 3_600_000


def _concerns() -> list[TableColumn[Concern]]:
    return [
        TableColumn("", 1, lambda each: (each.sign, each.look), field="sign"),
        TableColumn("WHAT IS WRONG", 0, lambda each: (each.text, each.look), field="text"),
    ]


def _reasons() -> list[TableColumn[WaitingReason]]:
    return [
        TableColumn("WHY THEY WAIT", 0, lambda each: each.reason, field="reason"),
        figure("JOBS", 7, lambda each: each.jobs, lambda each: count(each.jobs)),
    ]


def _running(time: ServerTime) -> list[TableColumn[RunView]]:
    def progress(run: RunView) -> str:
        ended, whole = done_of(run)
        return bar(ended / whole if whole else 0.0, 6, track=True)

    def stages(run: RunView) -> str:
        return "".join(text for text, _ in stage_signs(run))

    def eta(run: RunView) -> str:
        return "?" if run.expected_seconds is None else roughly(run.expected_seconds)

    return [
        TableColumn("", 1, lambda run: sign(run.state), field="state", value=lambda run: run.state),
        figure("RUN", 6, lambda run: run.id, align="left"),
        TableColumn("PIPELINE", 0, lambda run: run.pipeline),
        TableColumn("STAGES", 7, stages),
        figure(
            "JOBS", 8, lambda run: done_of(run)[1], lambda run: "/".join(map(brief, done_of(run)))
        ),
        TableColumn("", 6, progress, field="progress"),
        length("TOOK", 7, lambda run: time.since_s(run.started_at)),
        length("ETA", 4, lambda run: run.expected_seconds, eta),
    ]


class Overview(View):
    """View 1."""

    AUTO_FOCUS = "#attention"
    name_of_view = "overview"
    supports: ClassVar[frozenset[str]] = ROWS | {
        "explain",
        "log",
        "cancel",
        "acknowledge",
    }

    def body(self) -> ComposeResult:
        """Tiles, lanes and attention, running runs and events."""
        with Horizontal(id="tiles"):
            for name in ("throughput", "waiting", "oldest", "errors"):
                yield Lines(id=name, focusable=False)
        with Horizontal(classes="pair", id="middle"):
            with Vertical(classes="left"):
                yield Lines(id="lanes", focusable=False)
                yield Table(TableRows(_reasons()), id="reasons", empty="nothing waits")
            yield Table(
                TableRows(_concerns()), id="attention", empty="nothing needs your attention"
            )
        with Horizontal(classes="pair", id="lower"):
            yield Table(
                TableRows(_running(self.clock), faulty=is_faulty_run),
                id="running",
                classes="front",
                empty="nothing runs. `tpctl run start NAME` starts something",
            )
            with Vertical(classes="right behind"):
                yield Lines(id="events")
                yield Lines(id="fires")

    def path(self) -> list[str]:
        """At the root."""
        return ["overview"]

    def questions(self) -> list[PolledCall]:
        """The pulse's."""
        return [
            view_queries.QUEUES,
            view_queries.SUMMARY,
            view_queries.tasks("15m", "recent_tasks"),
            view_queries.SCHEDULES,
            view_queries.PLAN,
            view_queries.WORKER_STATS,
            view_queries.open_runs(State.IN_PROGRESS, self._take_open),
            view_queries.open_runs(State.READY, self._take_open),
        ]

    def watched(self) -> Watch:
        """The open runs on the screen, and workers for what is wrong with them."""
        table = self.query_one("#running", Table)
        keys = [int(key) for key in table.rows.order[:100]]
        return Watch(runs=keys, jobs_of=0)

    def paint(self, *, order: bool) -> None:
        """Draw it."""
        self._paint_tiles()
        store = self.store
        queues = store.queues()
        reasons: dict[Key, WaitingReason] = (
            {} if queues is None else {each.reason: each for each in queues.reasons}
        )
        if queues is not None:
            self.query_one("#reasons", Table).update(reasons, order=order)
        concerns = self.console.concerns()
        table = self.query_one("#attention", Table)
        table.heading = line(
            ("Attention ", "title"),
            (
                f"{len(concerns)}" if store.frame_ms is not None else "",
                "warn" if concerns else "good",
            ),
        )
        table.footing = line("↵ open  a acknowledge 1 h")
        if store.frame_ms is not None:
            table.update({each.key: each for each in concerns}, order=True)
        running = store.open_runs()
        whole = len(running) if store.counts is None else store.counts.open_runs
        table = self.query_one("#running", Table)
        table.heading = line(
            ("Running and waiting ", "title"), count(whole) if store.frame_ms is not None else ""
        )
        table.footing = line("4 all runs")
        if store.frame_ms is not None:
            table.update({run.id: run for run in running}, order=order)
        self._paint_right()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Events have no cursor, and so no job under it."""
        if action in {"explain", "log"} and not isinstance(self.focused, Table):
            return False
        return super().check_action(action, parameters)

    def job_id(self) -> int | None:
        """What a concern is about, or the first job that waits for this reason."""
        found = self.table.current if self.table is not None else None
        queues = self.store.queues()
        groups = queues.items if queues is not None else []
        if isinstance(found, Concern):
            return job_of(found.about, self.store.workers, self.store.partitions, groups)
        if isinstance(found, WaitingReason):
            return next((each.job_id for each in groups if each.reason == found.reason), None)
        return None

    def pointed_run(self) -> int | None:
        """The run under the cursor."""
        found = self.table.current if self.table is not None else None
        return found.id if isinstance(found, RunView) else None

    def things(self, command: str) -> list[Thing]:
        """The runs that are marked."""
        table = self.query_one("#running", Table)
        if command != "cancel" or self.table is not table:
            return []
        rows = [table.rows.by_key[key] for key in table.chosen()]
        return [Thing(kind="run", id=run.id, words=run.pipeline) for run in rows]

    def on_table_opened(self, event: Table.Opened) -> None:
        """Open what the row is about."""
        event.stop()
        found = event.table.rows.by_key.get(event.key)
        if isinstance(found, RunView):
            self.console.navigation.open_run(found.id)
        elif isinstance(found, Concern):
            self.console.navigation.open_object(*found.about)
        elif isinstance(found, WaitingReason):
            self.console.navigation.open_view("partitions")

    def action_acknowledge(self) -> None:
        """Have what is wrong leave the list for an hour."""
        table = self.query_one("#attention", Table)
        for key in table.chosen():
            self.console.acknowledged[str(key)] = self.console.now_ms() + _ACK_MS
        table.marks.clear()
        self.flush(order=True)

    def _take_open(self, page: Page[RunView]) -> None:
        for run in page.items:
            self.console.session.store.put_run(run)

    def _paint_tiles(self) -> None:
        store = self.store
        width = max(self.query_one("#throughput", Lines).size.width - 2, 10)
        drawn: dict[str, tuple[str, list[Line]]] = {
            "throughput": ("Throughput", tiles.throughput(store.pulses, width)),
            "waiting": (
                "Waiting",
                tiles.waiting(store.counts, store.queues(), store.pulses, width),
            ),
            "oldest": ("Oldest ready", tiles.oldest(store.queues(), store.summary(), width)),
            "errors": (
                "Errors, 15 m",
                tiles.errors(store.pulses, store.tasks("recent_tasks"), width),
            ),
        }
        for name, (title, lines) in drawn.items():
            box = self.query_one(f"#{name}", Lines)
            box.heading = line((title, "title"))
            box.show(lines)
        box = self.query_one("#lanes", Lines)
        box.heading = line(("Lanes", "title"))
        partitions = sorted(store.partitions.values(), key=lambda each: each.partition)
        if store.frame_ms is None:
            box.show(paragraph(self.console.waiting_words(), box.size.width - 2))
        else:
            box.show(lanes.lanes(partitions, store.queues(), max(box.size.width - 2, 10)))

    def _paint_right(self) -> None:
        events = self.query_one("#events", Lines)
        events.heading = line(("Events", "title"))
        room = max(events.size.height - 2, 0)
        notes = self.store.notes[-room:] if room else []
        known = self.store.frame_ms is not None
        nothing = line((" nothing yet" if known else " –", "dim"))
        events.show([_note(note) for note in reversed(notes)] or [nothing])
        fires = self.query_one("#fires", Lines)
        fires.heading = line(("Next fires", "title"))
        fires.footing = line("6 schedules")
        crons = {each.id: each for each in self.store.schedules()}
        now_ms = self.clock.now_ms
        firsts = [due[0] for each in self.store.plans().values() if (due := to_come(each, now_ms))]
        room = max(fires.size.height - 2, 0)
        planned = [
            _fire(due, crons.get(due.run.schedule_id), now_ms)
            for due in sorted(firsts, key=lambda each: each.due_ms)[:room]
        ]
        asked = self.store.answers.keys() & {"plan", "timeline"}
        nothing = line((" nothing is planned" if asked else " –", "dim"))
        fires.show(planned or [nothing])


def _note(note: Note) -> Line:
    signs: dict[str, Span] = {
        "job_failed": ("✗", "bad"),
        "job_lost": ("✗", "warn"),
        "worker_joined": ("●", "good"),
        "worker_left": ("○", "warn"),
        "class_changed": ("·", "dim"),
    }
    at_ms = instant(note.at) or 0
    job = f"job {note.job_id} " if note.job_id else ""
    what = f"{job}{note.pipeline}/{note.job} " if note.pipeline else ""
    who = f"{note.worker} " if note.worker and not note.job_id else ""
    return line(
        f" {clock(at_ms)} ", signs.get(note.kind, ("·", "")), f" {what}{who}", (note.text, "dim")
    )


def _fire(due: DueRun, schedule: ScheduleView | None, now_ms: int) -> Line:
    cron = "" if schedule is None else schedule.spec.cron
    away_s = (due.due_ms - now_ms) / 1000
    away: Span = (
        (f"late {roughly(-away_s)}", "warn") if due.late else (f"in {roughly(away_s):>4}", "")
    )
    return line(f" {clock(due.due_ms)}Z  ", away, f"  {due.run.pipeline:<18} ", (cron, "dim"))
