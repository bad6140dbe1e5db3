"""One run: its stages, when what ran, and one job's log, output, error, explanation, attempts."""

from typing import ClassVar

import msgspec
from textual.app import ComposeResult
from textual.binding import BindingType

from control.model.api.explanation import Explanation
from control.model.api.live import Watch
from control.model.api.views import JobView, Page, RunView
from control.model.raw import NULL
from control.model.states import FINAL, State
from tui.core.actions import Thing
from tui.core.formatting import took
from tui.core.spans import Line, Span, line
from tui.core.state_symbols import done_of, sign
from tui.core.timestamps import instant, run_seconds
from tui.link.polling import PolledCall
from tui.panes.gantt import gantt
from tui.screens import view_queries
from tui.screens.base_view import View
from tui.screens.logs import LogFeed
from tui.widgets.box import Lines
from tui.widgets.keys import bindings
from tui.widgets.picker import JobPicker
from tui.widgets.reader import TextReader

TABS = ("Log", "Output", "Error", "Explain", "Attempts")


class RunDetail(View):
    """A run's own screen."""

    BINDINGS: ClassVar[list[BindingType]] = bindings(
        ("child", "parent", "attempt(-1)", "attempt(1)", "copy_log", "save_log")
    )
    name_of_view = "runs"
    supports: ClassVar[frozenset[str]] = frozenset(
        {
            "filter",
            "explain",
            "describe",
            "copy",
            "log",
            "graph",
            "child",
            "parent",
            "tab",
            "retry",
            "cancel",
            "raise_priority",
            "lower_priority",
            "attempt(-1)",
            "attempt(1)",
            "copy_log",
            "save_log",
        }
    )

    def __init__(self, run_id: int, job_id: int | None = None) -> None:
        super().__init__()
        self.run_id = run_id
        self._selected = job_id
        self._tab = "Log"
        self._attempt: int | None = None  # None: the newest.
        self._feed: LogFeed | None = None
        self._read: tuple[str, JobView, Explanation | None] | None = None

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Of two keys only where they lead."""
        if action == "child":
            return self.job is not None and self.job.child_run_id is not None
        if action == "parent":
            return self.run_shown is not None and self.run_shown.parent_run_id is not None
        return super().check_action(action, parameters)

    def body(self) -> ComposeResult:
        """Stages, the Gantt chart, the job."""
        yield JobPicker(id="stages", selected=self._selected)
        yield Lines(id="gantt")
        yield TextReader(id="job", follows=True)

    def on_mount(self) -> None:
        """The stages have the keys."""
        self.query_one(JobPicker).focus()

    def path(self) -> list[str]:
        """Down to the job."""
        run, job = self.run_shown, self.job
        name = f"{self.run_id} {run.pipeline}" if run else str(self.run_id)
        return ["overview", "runs", name, *([job.stage, job.name] if job else [])]

    def questions(self) -> list[PolledCall]:
        """The run, its jobs, and the one under the cursor."""
        asked = [
            view_queries.run(self.run_id, self._take_run),
            view_queries.jobs(self.run_id, self._take_jobs),
        ]
        if self._selected is not None:
            asked.append(view_queries.job(self._selected, self._take_job))
            if self._tab == "Explain":
                asked.append(view_queries.explanation(self._selected))
        return asked

    def watched(self) -> Watch:
        """The run and its jobs."""
        return Watch(runs=[self.run_id], jobs_of=self.run_id)

    @property
    def run_shown(self) -> RunView | None:
        """The run, as far as it is known."""
        return self.store.runs.get(self.run_id)

    @property
    def job(self) -> JobView | None:
        """The job under the cursor."""
        return None if self._selected is None else self.store.jobs.get(self._selected)

    def paint(self, *, order: bool) -> None:
        """Draw it."""
        del order
        run, jobs = self.run_shown, self.store.jobs_of(self.run_id)
        chart = self.query_one("#gantt", Lines)
        if run is None:
            problem = self.store.problem("run")
            chart.show([line((f" {problem or 'loading …'}", "bad" if problem else "dim"))])
            return
        now_ms = self.clock.now_ms
        self.query_one(JobPicker).show(run, jobs, now_ms)
        chart.heading = self._chart_title(run)
        size = chart.size
        chart.show(
            gantt(
                run,
                jobs,
                max(size.width - 2, 10),
                max(size.height - 2, 1),
                now_ms=now_ms,
                selected=self._selected,
            )
        )
        self._paint_job()

    def things(self, command: str) -> list[Thing]:
        """The run; the job where only a job will do."""
        run, job = self.run_shown, self.job
        if command in {"raise_priority", "lower_priority"}:
            if job is None or job.state != State.READY:
                return []
            return [Thing(kind="job", id=job.id, words=job.name, priority=job.priority)]
        if run is None:
            return []
        if command == "cancel" and job is not None and job.state not in FINAL:
            return [Thing(kind="job", id=job.id, words=job.name)]
        return [Thing(kind="run", id=run.id, words=run.pipeline)]

    def on_job_picker_moved(self, event: JobPicker.Moved) -> None:
        """Another job is told of."""
        event.stop()
        self._selected, self._attempt = event.job_id, None
        self._follow_log()
        self.flush(order=False)

    def job_id(self) -> int | None:
        """The job under the cursor."""
        return self._selected

    def action_tab(self) -> None:
        """The next of log, output, error, explanation, attempts."""
        self._tab = TABS[(TABS.index(self._tab) + 1) % len(TABS)]
        self._show_tab()

    def action_log(self) -> None:
        """The log, in focus."""
        self._tab = "Log"
        self._show_tab()
        self.query_one(TextReader).focus()

    def action_graph(self) -> None:
        """Columns, or a tree."""
        picker = self.query_one(JobPicker)
        picker.as_tree = not picker.as_tree
        picker.redraw()

    def action_child(self) -> None:
        """The run that the job under the cursor is."""
        job = self.job
        if job is not None and job.child_run_id is not None:
            self.console.navigation.open_run(job.child_run_id)

    def action_parent(self) -> None:
        """The run that this one is a job of, with the cursor on that job."""
        run = self.run_shown
        if run is not None and run.parent_run_id is not None:
            self.console.navigation.open_run(run.parent_run_id, run.parent_job_id)

    def action_attempt(self, way: int) -> None:
        """The log of the attempt before, or after."""
        job = self.job
        if job is not None:
            self._attempt = min(max((self._attempt or job.attempt) + way, 1), job.attempt)
            self._follow_log()

    def action_describe(self) -> None:
        """The whole record of the job."""
        if self.job is not None:
            self.describe(f"job {self.job.id}", self.job)

    def action_copy(self) -> None:
        """Copy the job's id."""
        if self._selected is not None:
            self.console.copy(str(self._selected), f"job {self._selected}")

    def action_copy_log(self) -> None:
        """Copy what is shown of the job."""
        self.console.copy(self.query_one(TextReader).text, "the text")

    def action_save_log(self) -> None:
        """Write it to a file."""
        if self.job is not None:
            name = f"job-{self.job.id}-{self._tab.lower()}.txt"
            self.console.save(name, self.query_one(TextReader).text)

    def _show_tab(self) -> None:
        reader = self.query_one(TextReader)
        reader.following = reader.grows = self._tab == "Log"
        reader.replace([])
        if self._tab == "Log":
            self._follow_log()
        self.flush(order=False)

    def _follow_log(self) -> None:
        job = self.job
        if job is None or self._tab != "Log":
            return
        attempt = self._attempt or job.attempt
        reader = self.query_one(TextReader)
        reader.replace([])
        self._feed = LogFeed(self.console.source, job.id, attempt)
        self.run_worker(self._feed.run(), group="log", exclusive=True)

    def _paint_job(self) -> None:
        reader, job = self.query_one(TextReader), self.job
        reader.heading = self._tabs_title(job)
        reader.footing = self._reader_footing(reader)
        if job is None:
            return
        if self._tab == "Log":
            self._read = None
            begun = self._attempt or job.attempt
            if self._feed is None or (self._feed.job_id, self._feed.attempt) != (job.id, begun):
                self._follow_log()
            if self._feed is not None:
                reader.extend(self._feed.take())
        else:
            found = self.store.value("explanation", Explanation)
            source = (self._tab, job, found)
            if source != self._read:  # An output may be a megabyte.
                self._read = source
                reader.replace(self._text_of(job))
            reader.redraw()

    def _text_of(self, job: JobView) -> list[Line]:
        match self._tab:
            case "Output":
                if job.output == NULL:
                    return [line((" no output", "dim"))]
                text = msgspec.json.format(bytes(job.output), indent=2).decode()
                return [line(f" {each}") for each in text.split("\n")]
            case "Error":
                text = job.error or ""
                return (
                    [line((f" {each}", "bad")) for each in text.split("\n")]
                    if text
                    else [line((" no error", "dim"))]
                )
            case "Explain":
                found = self.store.value("explanation", Explanation)
                if found is None:
                    return [line((" asking …", "dim"))]
                return [
                    line((f" {found.reason}", "bold")),
                    *(line(f"   {each}") for each in found.steps),
                ]
            case _:
                return self._attempts(job)

    def _attempts(self, job: JobView) -> list[Line]:
        lines = []
        for each in job.attempts:
            begun, ended = instant(each.started_at), instant(each.finished_at)
            seconds = (ended - begun) / 1000 if begun is not None and ended is not None else None
            lines.append(
                line(
                    f" {each.attempt}  ",
                    (f"{each.outcome.value:<10}", "bad"),
                    f" {took(seconds):>8}  {each.worker or '–'}  ",
                    (each.error or "", "dim"),
                )
            )
        lines.append(
            line(f" {job.attempt}  ", sign(job.state), f" {job.state}  {job.worker or '–'}")
        )
        return lines

    def _tabs_title(self, job: JobView | None) -> Line:
        spans: list[str | Span] = [
            (f"[{name}] ", "accent") if name == self._tab else (f" {name}  ", "dim")
            for name in TABS
        ]
        if job is not None:
            where = f" · {job.worker}" if job.worker else ""
            if job.child_run_id is not None:
                where = f" · is run {job.child_run_id} (↵)"
            spans.append(f"  {job.name} {job.id}{where} · try {self._attempt or job.attempt}")
        return line(*spans)

    def _reader_footing(self, reader: TextReader) -> Line:
        count = len(reader.lines)
        told = [f"{count} line{'' if count == 1 else 's'}"]
        if reader.dropped:
            told.append(f"{reader.dropped} earlier ones not kept")
        if reader.sought:
            told.append(f"/{reader.sought} {len(reader.hits)} hits")
        if self._tab == "Log":
            told.append("FOLLOW" if reader.following else "F follows")
            if self._feed is not None and self._feed.problem:
                told.append(self._feed.problem)
        return line(" · ".join(told))

    def _chart_title(self, run: RunView) -> Line:
        ended, whole = done_of(run)
        eta = "" if run.expected_seconds is None else f"  eta {took(run.expected_seconds)}"
        seconds = run_seconds(run, self.clock.now_ms)
        return line(
            (f"{run.pipeline} run {run.id}  ", "title"),
            (f"of run {run.parent_run_id} (u)  " if run.parent_run_id else "", "dim"),
            sign(run.state),
            f" {run.state} {took(seconds)}  {ended}/{whole}{'' if run.state in FINAL else eta}  ",
            ("◆ critical path  ░ ready  █ in progress  ▓ retry", "dim"),
        )

    def _take_run(self, run: RunView) -> None:
        self.store.put_run(run)

    def _take_jobs(self, page: Page[JobView]) -> None:
        for job in page.items:
            self.store.put_job(job)

    def _take_job(self, job: JobView) -> None:
        self.store.put_job(job)
