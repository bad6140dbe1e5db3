"""All runs, the newest first; the end of the list loads older ones."""

from bisect import bisect_left
from collections.abc import Mapping
from typing import ClassVar, Final

from textual.app import ComposeResult

from control.model.api.live import Watch
from control.model.api.views import Page, RunView
from control.model.states import FINAL, State
from tui.core.actions import Thing
from tui.core.spans import line
from tui.core.store import RUNS_MAX
from tui.core.tables.rows import TableRows
from tui.core.tables.work import is_faulty_run, runs
from tui.core.timestamps import instant
from tui.core.windows import WINDOWS_S, stepped
from tui.link.polling import PolledCall
from tui.link.source import LinkError, decoded
from tui.screens import view_queries
from tui.screens.base_view import ROWS, View
from tui.widgets.table import Table

_PAGE = 200
_NEAR_END = 10
_WATCHED_MAX = 200
_TOLD_MAX = 500
_NONE_YET = "no run yet. `tpctl run start NAME` or `tpctl run submit FILE` starts one"
_NONE_SINCE = "no run in this time; > makes it longer"
_ALL = "all"
_SINCE: Final = (*list(WINDOWS_S)[1:], _ALL)


class Runs(View):
    """View 4."""

    name_of_view = "runs"
    supports: ClassVar[frozenset[str]] = ROWS | {
        "retry",
        "cancel",
        "explain",
        "log",
        "window(-1)",
        "window(1)",
    }

    def __init__(self) -> None:
        super().__init__()
        self._all_loaded = False
        self._cursor: str | None = None  # Of the list, where it goes on.
        self._loading = False
        self._newest = 0  # The largest number of those that were asked for.
        self._oldest_ms = 0  # When the oldest run began of those that were asked for.
        self._since = _ALL

    def body(self) -> ComposeResult:
        """One table."""
        yield Table(
            TableRows(runs(self.clock), faulty=is_faulty_run, sort="run", descending=True),
            id="runs",
            empty=_NONE_YET,
        )

    def path(self) -> list[str]:
        """One level down."""
        return ["overview", "runs"]

    def questions(self) -> list[PolledCall]:
        """The newest runs, for what frames do not tell: how long they will take."""
        return [view_queries.latest_runs(self._take)]

    def watched(self) -> Watch:
        """The runs around those in view."""
        keys = [int(key) for key in self.query_one("#runs", Table).in_view(_WATCHED_MAX)]
        # And open ones: what a filter hides now may be what it looks for when it has ended.
        open_ones = [run.id for run in self.store.runs.values() if run.state not in FINAL]
        found = list(dict.fromkeys([*keys, *sorted(open_ones, reverse=True)]))[:_TOLD_MAX]
        return Watch(runs=found, jobs_of=0)

    def paint(self, *, order: bool) -> None:
        """Draw it."""
        table = self.query_one("#runs", Table)
        known = self._begun_since(self.store.runs)
        states = [run.state for run in known.values()]
        faults = states.count(State.ERROR)
        table.heading = line(
            ("Runs: ", "title"),
            f"{states.count(State.IN_PROGRESS)} in progress · {states.count(State.READY)} ready · ",
            (f"{faults} error", "bad" if faults else ""),
            f" · {sum(state in FINAL for state in states) - faults} ended",
            ("  of those loaded", "dim"),
            (f"  since {self._since}" if self._since != _ALL else "", "accent"),
        )
        table.empty = _NONE_YET if self._since == _ALL else _NONE_SINCE
        begin_ms = self._begin_ms()
        full = len(self.store.runs) >= RUNS_MAX
        # Of a full store the oldest are dropped, so that one from before the time is proof, too.
        reached = begin_ms is not None and self._oldest_ms < begin_ms
        if full:
            loaded = reached and len(known) < len(self.store.runs)
        else:
            loaded = reached or self._all_loaded
        words = (
            "all loaded"
            if loaded
            else f"older runs than these {RUNS_MAX}: `tpctl run list`"
            if full
            else "the end of the list loads 200 older runs"
        )
        table.footing = line(f"< > since  {words}")
        if self.store.frame_ms is not None or known:
            table.update(known, order=order or len(known) != len(table.rows.by_key))
        if (
            table.is_near_end(_NEAR_END)
            and not full
            and not loaded
            and not self._loading
            and self._cursor is not None
            and self.store is self.console.session.store  # A frozen picture stays as it is.
        ):
            self._loading = True
            self.run_worker(self._load_older(), group="older", exclusive=True)

    def things(self, command: str) -> list[Thing]:
        """The runs that are marked, or the one under the cursor."""
        table = self.query_one("#runs", Table)
        rows: list[RunView] = [table.rows.by_key[key] for key in table.chosen()]
        wanted = {State.ERROR, State.CANCELLED} if command == "retry" else set(State) - FINAL
        return [
            Thing(kind="run", id=run.id, words=run.pipeline) for run in rows if run.state in wanted
        ]

    def on_table_opened(self, event: Table.Opened) -> None:
        """The run's own screen."""
        event.stop()
        self.console.navigation.open_run(int(event.key))

    def pointed_run(self) -> int | None:
        """The run under the cursor."""
        pointed = self.query_one("#runs", Table).pointed
        return None if pointed is None else int(pointed)

    def action_window(self, way: int) -> None:
        """Runs of a shorter or longer time."""
        self._since = stepped(_SINCE, self._since, way)
        self.flush(order=True)

    def _begin_ms(self) -> int | None:
        """When the time begins that is wanted; None: with the first run."""
        if self._since == _ALL:
            return None
        return self.clock.now_ms - WINDOWS_S[self._since] * 1000

    def _begun_since(self, runs: Mapping[int, RunView]) -> dict[int, RunView]:
        """Those of the time that is wanted; a run with a larger number began later."""
        begin_ms = self._begin_ms()
        if begin_ms is None:
            return dict(runs)
        numbers = sorted(runs)
        first = bisect_left(
            numbers, begin_ms, key=lambda number: instant(runs[number].created_at) or 0
        )
        return {number: runs[number] for number in numbers[first:]}

    def _take(self, page: Page[RunView]) -> None:
        numbers = [run.id for run in page.items]
        # The first page; or one of much later, with runs between that nobody has told of.
        if not numbers or min(numbers) > self._newest:
            self._go_on_after(page)
        self._newest = max([self._newest, *numbers])
        for run in reversed(page.items):
            self.console.session.store.put_run(run)

    def _go_on_after(self, page: Page[RunView]) -> None:
        self._cursor, self._all_loaded = page.next_cursor, page.next_cursor is None
        if page.items:
            self._oldest_ms = instant(page.items[-1].created_at) or 0

    async def _load_older(self) -> None:
        try:
            query = {"limit": str(_PAGE), "cursor": self._cursor or ""}
            raw = await self.console.source.ask("GET", "/v1/runs", query=query)
            page = decoded(raw, Page[RunView])
            self._go_on_after(page)
            self._take(page)
        except LinkError as error:
            self.console.flash(f"older runs: {error}", "bad")
        finally:
            self._loading = False
