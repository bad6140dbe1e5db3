"""Owns the console as far as it shows: the modes, the flush, the flash line, the history."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

import msgspec
from textual.command import CommandPalette
from textual.screen import Screen

from control.model.states import Role
from tui.core.alert_acknowledgements import Concerns
from tui.core.alerts import Concern
from tui.core.command_line import words
from tui.core.formatting import took
from tui.core.history import ViewHistory
from tui.core.notifications import FlashNotice
from tui.core.spans import Look, Span, shown
from tui.core.store import Store
from tui.keyboard import OrderlyKeys
from tui.link.contexts import Colours
from tui.link.session import ConsoleSession
from tui.link.source import LinkError, Source, decoded
from tui.panes.bars import Mode
from tui.screens.base_view import View
from tui.screens.overview import Overview
from tui.screens.palette import Palette
from tui.screens.partitions import Partitions
from tui.screens.run import RunDetail
from tui.screens.runs import Runs
from tui.screens.schedules import Schedules
from tui.screens.slow import SlowTasks
from tui.screens.sorting import SortMenu
from tui.screens.text_screens import Described, Explained, Help
from tui.screens.workers import Workers
from tui.widgets.keys import KEY_IDS
from tui.widgets.table import Table
from tui.widgets.themes import DEFAULT, register

_FLUSH_S: Final = 0.25
_ORDER_EVERY: Final = 4  # Flushes: what is sorted changes its order once a second at most.
_FLASH_MS: Final = 6_000
_MESSAGES_MAX: Final = 200
_SCREENS: Final[Mapping[str, Callable[[], View]]] = {
    "overview": Overview,
    "partitions": Partitions,
    "slow": SlowTasks,
    "runs": Runs,
    "workers": Workers,
    "schedules": Schedules,
}


class ContextSwitch(msgspec.Struct, frozen=True):
    """The app ended to begin again with another context."""

    context: str


class Base(OrderlyKeys[int | ContextSwitch]):
    """The console, as far as it only shows."""

    CSS_PATH: ClassVar[str] = "app.tcss"
    TITLE = "tpctl"
    ENABLE_COMMAND_PALETTE = False  # Ours is made from the console's own commands.
    MODES: ClassVar[dict[str, Callable[[], View]]] = dict(_SCREENS)  # type: ignore[assignment]
    DEFAULT_MODE = "overview"
    HORIZONTAL_BREAKPOINTS = [(0, "-tiny"), (80, "-narrow"), (110, "-wide")]  # noqa: RUF012 - as Textual says.
    VERTICAL_BREAKPOINTS = [(0, "-short"), (24, "-low"), (32, "-high")]  # noqa: RUF012

    def __init__(
        self,
        source: Source,
        *,
        now_ms: Callable[[], int],
        version: str,
        contexts: list[str] | None = None,
        theme: str | None = None,
        themes: Mapping[str, Colours] | None = None,
        keys: Mapping[str, str] | None = None,
        replayed: bool = False,
    ) -> None:
        super().__init__()
        self.animation_level = "none"
        self.source = source
        self.now_ms = now_ms
        self._live = Store()
        self._frozen: Store | None = None
        self.session = ConsoleSession(source, self._live, now_ms, self._link_changed)
        self.contexts = contexts or [source.target.name]
        self.version = version
        self.window = "1h"
        self.replayed = replayed
        self.messages: list[FlashNotice] = []
        self._theme_problems = register(self, themes or {})
        self._wanted_theme = theme or DEFAULT
        self._keys = dict(keys or {})
        self.writes_until_ms: int | None = None
        self._frozen_since_ms: int | None = None
        self._flushes = 0
        self._history = ViewHistory(self.DEFAULT_MODE)
        self.unmade = [name for name in _SCREENS if name != self.DEFAULT_MODE]
        self._link_state = ""
        self._concerns = Concerns()
        self.acknowledged = self._concerns.acknowledged

    # What is known, and how it stands.

    @property
    def store(self) -> Store:
        """What is shown: all that is known, or what was when the picture was frozen."""
        return self._frozen or self._live

    @property
    def may_write(self) -> bool:
        """Whether actions are there: asked for with `:rw`, and allowed by the role."""
        until_ms = self.writes_until_ms
        return (
            until_ms is not None
            and self.now_ms() < until_ms
            and self.store.role not in {Role.VIEWER, None}
            and not self.replayed
        )

    def mode(self) -> Mode:
        """What the header says of the console."""
        return Mode(
            context=self.source.target.name,
            guarded=self.source.target.guarded,
            read_only=not self.may_write,
            writes_until_ms=self.writes_until_ms,
            frozen_since_ms=self._frozen_since_ms,
            warnings=len(self.concerns()),
            replayed=self.replayed,
        )

    def stale(self) -> str:
        """How old the picture is, in words; empty: it is live."""
        link = self.store.link
        if link.state == "live" or self.store.frame_ms is None:
            return ""
        return took((self.now_ms() - self.store.frame_ms) // 1000)

    def waiting_words(self) -> str:
        """What is said where nothing is known yet."""
        link, url = self.store.link, self.source.target.url
        if link.state == "refused":
            return f"{link.why}. Mend it, then ctrl+r tries again"
        if link.state == "lost":
            return f"{link.why}. Is `tpctl up` running at {url}? `tpctl doctor` tells more"
        return "loading …"

    def picture_ms(self) -> int:
        """The server's time of what is shown: it stands still while there is no link."""
        if self._frozen_since_ms is not None:
            return self.store.server_now(self._frozen_since_ms)
        frame_ms = self.store.frame_ms
        live = self.store.link.state == "live" or frame_ms is None
        return self.store.server_now(self.now_ms() if live or frame_ms is None else frame_ms)

    def concerns(self, *, acknowledged: bool = False) -> list[Concern]:
        """What is wrong, the worst first; what was acknowledged apart."""
        now_ms = self.now_ms()
        self._concerns.look(self.store, now_ms, self.picture_ms())
        return self._concerns.found(now_ms, acknowledged=acknowledged)

    # The picture.

    def on_mount(self) -> None:
        """Begin to draw."""
        known = self._wanted_theme in self.available_themes
        self.theme = self._wanted_theme if known else DEFAULT
        if not known:
            self.flash(f"there is no theme {self._wanted_theme}", "bad")
        for problem in self._theme_problems:
            self.flash(problem, "bad")
        unknown = self._keys.keys() - KEY_IDS
        if unknown:
            self.flash(f"keys.toml: there is no {', '.join(sorted(unknown))}", "bad")
        self.set_keymap({name: key for name, key in self._keys.items() if name in KEY_IDS})
        self.set_interval(_FLUSH_S, self.flush_view)
        self.set_interval(_FLUSH_S, self.dispatch_keys)

    @property
    def view_in_front(self) -> View | None:
        """The view that is seen whole; none under a dialog, nor at the console's begin and end."""
        stack = self.screen_stack
        return stack[-1] if stack and isinstance(stack[-1], View) else None

    def flush_view(self) -> None:
        """Draw what has changed on the screen in front."""
        self._flushes += 1
        if self.writes_until_ms is not None and self.now_ms() >= self.writes_until_ms:
            self.writes_until_ms = None
            self.refresh_bindings()
            self.flash("read-only again")
        screen = self.view_in_front
        if screen is None or not screen.is_mounted:  # It has no panes yet.
            return
        screen.flush(order=self._flushes % _ORDER_EVERY == 0)

    def _link_changed(self) -> None:
        state = self._live.link.state
        if state != self._link_state:
            self._link_state = state
            if self.is_running:
                self.call_later(self.flush_view)

    # What is said.

    def flash(self, text: str, look: Look = "", line: str = "") -> None:
        """Say something in the flash line, and keep it among the messages."""
        text = shown(text)
        self.messages.append(FlashNotice(at_ms=self.now_ms(), text=text, look=look, line=line))
        del self.messages[:-_MESSAGES_MAX]
        if self.view_in_front is not None:
            self.view_in_front.draw_bars()

    def line_now(self) -> str:
        """The `tpctl` line that the flash line shows; empty: none."""
        last = self._last_said()
        return "" if last is None else last.line

    def flash_now(self) -> Span | None:
        """What the flash line says now."""
        last = self._last_said()
        if last is None:
            return None
        return (f"{last.text}  {last.line}" if last.line else last.text, last.look or "accent")

    def _last_said(self) -> FlashNotice | None:
        if not self.messages or self.now_ms() - self.messages[-1].at_ms > _FLASH_MS:
            return None
        return self.messages[-1]

    # Views.

    def open_view(self, name: str) -> None:
        """Go to one of the six; each keeps its own stack and cursor."""
        if name == self.current_mode:
            while len(self.screen_stack) > 1:
                self.pop_screen()
            return
        self._history.visit(name)
        self.switch_mode(name)

    def open_root(self, name: str) -> None:
        """Go to one of the six, and up to its root."""
        if name != self.current_mode:
            self.open_view(name)
        self.call_later(self.open_view, name)

    def step(self, way: int) -> None:
        """Back or forward in the history of views."""
        name = self._history.step(way)
        if name is not None:
            self.switch_mode(name)

    def last_view(self) -> None:
        """Between the last two views."""
        if self._history.other is not None:
            self.open_view(self._history.other)

    def make_view(self) -> None:
        """Make one of the views: when it is opened that would be waited for."""
        here = self.current_mode
        # A dialog may close when it is not in front any more, for as little as this.
        free = len(self.screen_stack) == 1 and not self.screen.query(".typing")
        if self.is_running and free and self.unmade:
            self.switch_mode(self.unmade.pop())
            self.switch_mode(here)

    def toggle_freeze(self) -> None:
        """Freeze the picture, or let it live; data keeps flowing."""
        freezes = self._frozen is None
        self._frozen = self._live.copied() if freezes else None
        self._frozen_since_ms = self.now_ms() if freezes else None
        self.flush_view()

    def open_run(self, run_id: int, job_id: int | None = None) -> None:
        """A run's own screen, with the cursor on one of its jobs."""
        # What was told of another run is not this one's.
        self._forget(["run", "jobs", "job", "explanation"])
        self.store.keep_jobs_of(run_id)
        self.push_screen(RunDetail(run_id, job_id))

    def open_object(self, kind: str, key: int | str) -> None:
        """Whatever it is, its own place."""
        match kind:
            case "run":
                self.open_run(int(key))
            case "job":
                self.run_worker(self._open_job(int(key)), group="open", exclusive=True)
            case "worker":
                self._open_at("workers", key)
            case "schedule":
                self._open_at("schedules", key)
            case _:
                self._open_at("partitions", key)

    def _open_at(self, view: str, key: int | str) -> None:
        self.open_root(view)

        def put() -> None:
            view = self.view_in_front
            if view is None:
                return
            view.flush(order=True)
            for table in view.query(Table):
                table.move_to(key)
                if table.pointed == key:
                    table.focus()

        self.call_after_refresh(put)

    async def _open_job(self, job_id: int) -> None:
        try:
            raw = await self.source.ask("GET", f"/v1/jobs/{job_id}")
            run_id = decoded(raw, _OfRun).run_id
        except LinkError as error:
            self.flash(f"job {job_id}: {error}", "bad")
            return
        self.open_run(run_id, job_id)

    def explain(self, job_id: int) -> None:
        """Why a job waits, runs, or has ended."""
        self._forget(["explanation"])
        self.push_screen(Explained(job_id))

    def _forget(self, keys: list[str]) -> None:
        for store in (self._live, self.store):
            store.forget_answers(keys)

    def show_palette(self) -> None:
        """Every command by name."""
        self.push_screen(CommandPalette(providers=[Palette], placeholder="type a command, a run …"))

    def show_help(self, view: Screen[Any]) -> None:
        """The keys that do something on this view."""
        self.push_screen(Help(view, self._versions()))

    def _versions(self) -> str:
        target, store = self.source.target, self.store
        return (
            f"tpctl {self.version}   server {store.server_version or '–'}   {target.url}   "
            f"{store.client_id or '–'} ({store.role or '–'})   tpctl doctor"
        )

    def command_words(self) -> list[str]:
        """What is offered while a command is typed."""
        names = {run.pipeline for run in self.store.runs.values()}
        found = words(sorted(names), sorted(self.store.workers), self.contexts, self.themes())
        # What is offered is drawn, and typed, as it is.
        return [each for each in found if shown(each) == each]

    def themes(self) -> list[str]:
        """The themes there are."""
        return sorted(self.available_themes)

    def show_record(self, title: str, record: object) -> None:
        """A whole record, field by field."""
        self.push_screen(Described(title, record))

    def choose_order(self, table: Table[Any]) -> None:
        """Let the user choose what a table is sorted by."""

        def chosen(field: str | None) -> None:
            if field is not None:
                table.rows.sort_by(field)
                self.flush_view()
                table.show_top()

        titles = [
            (column.field, column.title or column.field)
            for column in table.columns
            if column.title or column.field == "state"
        ]
        self.push_screen(SortMenu(titles, table.rows.sort), chosen)

    def filter_view(self, text: str) -> None:
        """Filter the view in front, once it is there."""

        def put() -> None:
            if isinstance(self.screen, View):
                self.screen.take_filter(text, done=True)

        self.call_after_refresh(put)


class _OfRun(msgspec.Struct, frozen=True):
    """What is read of a job to find its run."""

    run_id: int
