"""Owns how the operator moves through the console: views, their history, and screens above them."""

from collections.abc import Callable
from typing import Any, Final

import msgspec
from textual.app import App
from textual.command import CommandPalette
from textual.screen import Screen

from control.model.api.views import JobView, Page
from tui.core.history import ViewHistory
from tui.core.worst import worst
from tui.link.source import LinkError, decoded
from tui.screens.base_view import View
from tui.screens.console_protocol import ConsoleProtocol
from tui.screens.palette import Palette
from tui.screens.run import RunDetail
from tui.screens.sorting import SortMenu
from tui.screens.text_screens import Described, Explained, Help
from tui.widgets.table import Table

_JOBS_READ_MAX: Final = 1_000  # Of a run, to choose the one that needs to be seen most.


class Navigation:
    """Opens views and screens. `app` and `console` are one object: Textual's side, and ours."""

    def __init__(self, app: App[Any], console: ConsoleProtocol, views: list[str]) -> None:
        """`views`: the names of the views that have a key; the first is shown at the start."""
        self._app = app
        self._console = console
        self._history = ViewHistory(views[0])
        self.unmade = views[1:]

    def open_view(self, name: str) -> None:
        """Open one of the views; each has a stack and a cursor of its own."""
        if name == self._app.current_mode:
            while len(self._app.screen_stack) > 1:
                self._app.pop_screen()
            return
        self._history.visit(name)
        self._app.switch_mode(name)

    def open_root(self, name: str) -> None:
        """Open one of the views, without the screens above it."""
        if name != self._app.current_mode:
            self.open_view(name)
        self._app.call_later(self.open_view, name)

    def step(self, way: int) -> None:
        """Open the view before (-1) or after (1) this one in the history."""
        name = self._history.step(way)
        if name is not None:
            self._app.switch_mode(name)

    def last_view(self) -> None:
        """Open the view that was open before this one."""
        if self._history.other is not None:
            self.open_view(self._history.other)

    def make_view(self) -> None:
        """Make one of the views in advance, so that nobody waits when it is opened."""
        here = self._app.current_mode
        # A dialog may close when it is not in front any more, for as little as this.
        free = len(self._app.screen_stack) == 1 and not self._app.screen.query(".typing")
        if self._app.is_running and free and self.unmade:
            self._app.switch_mode(self.unmade.pop())
            self._app.switch_mode(here)

    def open_run(self, run_id: int, job_id: int | None = None) -> None:
        """Open a run's own screen, with the cursor on one of its jobs."""
        # The answers about another run are not this one's.
        self._console.forget_answers(["run", "jobs", "job", "explanation"])
        self._console.store.keep_jobs_of(run_id)
        self._app.push_screen(RunDetail(run_id, job_id))

    def open_object(self, kind: str, key: int | str) -> None:
        """Open what shows an object best; `kind`: run, job, worker, schedule, or partition."""
        match kind:
            case "run":
                self.open_run(int(key))
            case "job":
                self._open_soon(self._open_job(int(key)))
            case "worker":
                self._open_at("workers", key)
            case "schedule":
                self._open_at("schedules", key)
            case _:
                self._open_at("partitions", key)

    def explain(self, job_id: int) -> None:
        """Open the reasons why a job waits, runs, or has ended."""
        self._console.forget_answers(["explanation"])
        self._app.push_screen(Explained(job_id))

    def explain_run(self, run_id: int) -> None:
        """Explain the job of a run that needs it most."""
        self._open_soon(self._with_worst(run_id, self.explain))

    def open_worst(self, run_id: int) -> None:
        """Open a run's own screen, on the job that needs to be seen most."""

        def open_it(job_id: int) -> None:
            self.open_run(run_id, job_id)

        self._open_soon(self._with_worst(run_id, open_it))

    def show_palette(self) -> None:
        """Open the list of all commands."""
        palette = CommandPalette(providers=[Palette], placeholder="type a command, a run …")
        self._app.push_screen(palette)

    def show_help(self, view: Screen[Any], versions: str) -> None:
        """Open the list of the keys that do something on this view."""
        self._app.push_screen(Help(view, versions))

    def show_record(self, title: str, record: object) -> None:
        """Open a whole record, field by field."""
        self._app.push_screen(Described(title, record))

    def choose_order(self, table: Table[Any]) -> None:
        """Open the choice of the column by which a table is sorted."""

        def chosen(field: str | None) -> None:
            if field is not None:
                table.rows.sort_by(field)
                self._console.flush_view()
                table.show_top()

        titles = [
            (column.field, column.title or column.field)
            for column in table.columns
            if column.title or column.field == "state"
        ]
        self._app.push_screen(SortMenu(titles, table.rows.sort), chosen)

    def filter_view(self, text: str) -> None:
        """Filter the view in front, once it is drawn."""

        def put() -> None:
            if isinstance(self._app.screen, View):
                self._app.screen.take_filter(text, done=True)

        self._app.call_after_refresh(put)

    def _open_soon(self, opening: Any) -> None:  # noqa: ANN401 - as Textual types it.
        self._app.run_worker(opening, group="open", exclusive=True)

    def _open_at(self, view: str, key: int | str) -> None:
        self.open_root(view)

        def put() -> None:
            screen = self._app.screen
            if not isinstance(screen, View):
                return
            screen.flush(order=True)
            for table in screen.query(Table):
                table.move_to(key)
                if table.pointed == key:
                    table.focus()

        self._app.call_after_refresh(put)

    async def _open_job(self, job_id: int) -> None:
        try:
            raw = await self._console.source.ask("GET", f"/v1/jobs/{job_id}")
            run_id = decoded(raw, _OfRun).run_id
        except LinkError as error:
            self._console.flash(f"job {job_id}: {error}", "bad")
            return
        self.open_run(run_id, job_id)

    async def _with_worst(self, run_id: int, use: Callable[[int], None]) -> None:
        query = {"limit": str(_JOBS_READ_MAX)}
        try:
            raw = await self._console.source.ask("GET", f"/v1/runs/{run_id}/jobs", query=query)
            job = worst(decoded(raw, Page[JobView]).items)
        except LinkError as error:
            self._console.flash(f"run {run_id}: {error}", "bad")
            return
        if job is not None:
            use(job.id)


class _OfRun(msgspec.Struct, frozen=True):
    """What is read of a job to find its run."""

    run_id: int
