"""Owns the console: what is drawn, what is typed, and what the operator may do.

Its collaborators: `Navigation` opens views and screens, `ActionSender` changes what the operator
confirms, `Notifications` has the notices.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

import msgspec
from textual.screen import Screen

from control.model.states import Role
from tui.action_sender import ActionSender
from tui.core.alert_acknowledgements import Concerns
from tui.core.alerts import Concern
from tui.core.command_line import TypedCommand, read, words
from tui.core.commands import VIEWS
from tui.core.formatting import took
from tui.core.notifications import Notifications
from tui.core.spans import Look, shown
from tui.core.store import Store
from tui.keyboard import OrderlyKeys
from tui.link.contexts import Colours
from tui.link.export_file import write_new
from tui.link.session import ConsoleSession
from tui.link.source import Source
from tui.navigation import Navigation
from tui.panes.bars import Mode
from tui.screens.base_view import View
from tui.screens.overview import Overview
from tui.screens.partitions import Partitions
from tui.screens.runs import Runs
from tui.screens.schedules import Schedules
from tui.screens.slow import SlowTasks
from tui.screens.text_screens import Messages
from tui.screens.workers import Workers
from tui.widgets.keys import KEY_IDS
from tui.widgets.prompt import Prompt
from tui.widgets.themes import DEFAULT, register

_FLUSH_S: Final = 0.25
_ORDER_EVERY: Final = 4  # Flushes: what is sorted changes its order once a second at most.
_WRITES_MS: Final = 15 * 60_000

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


class Console(OrderlyKeys[int | ContextSwitch]):
    """The operator's console."""

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
        self.notices = Notifications(now_ms)
        self.navigation = Navigation(self, self, list(_SCREENS))
        self.sender = ActionSender(self, self)
        self._theme_problems = register(self, themes or {})
        self._wanted_theme = theme or DEFAULT
        self._keys = dict(keys or {})
        self.writes_until_ms: int | None = None
        self._frozen_since_ms: int | None = None
        self._flushes = 0
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

    def forget_answers(self, keys: list[str]) -> None:
        """Forget the answers to these questions, also in a frozen picture."""
        for store in (self._live, self.store):
            store.forget_answers(keys)

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

    def toggle_freeze(self) -> None:
        """Freeze the picture, or let it live; data keeps flowing."""
        freezes = self._frozen is None
        self._frozen = self._live.copied() if freezes else None
        self._frozen_since_ms = self.now_ms() if freezes else None
        self.flush_view()

    def _link_changed(self) -> None:
        state = self._live.link.state
        if state != self._link_state:
            self._link_state = state
            if self.is_running:
                self.call_later(self.flush_view)

    # What the operator reads, and takes away.

    def flash(self, text: str, look: Look = "", line: str = "") -> None:
        """Show a notice in the flash line, and store it among the messages."""
        self.notices.add(text, look, line)
        if self.view_in_front is not None:
            self.view_in_front.draw_bars()

    def show_help(self, view: Screen[Any]) -> None:
        """Open the list of the keys that do something on this view."""
        target, store = self.source.target, self.store
        versions = (
            f"tpctl {self.version}   server {store.server_version or '–'}   {target.url}   "
            f"{store.client_id or '–'} ({store.role or '–'})   tpctl doctor"
        )
        self.navigation.show_help(view, versions)

    def copy(self, text: str, what: str) -> None:
        """Give text to the terminal's clipboard."""
        self.copy_to_clipboard(text)
        self.flash(f"copied {what}")

    def save(self, name: str, text: str) -> None:
        """Write a file here, readable by its owner only; never over another one."""
        try:
            path = write_new(name, text)
        except OSError as error:
            self.flash(f"cannot write {name}: {error.strerror}", "bad")
        else:
            self.flash(f"saved {path}", "good")

    # What is typed.

    def on_prompt_typed(self, event: Prompt.Typed) -> None:
        """A filter works while it is typed; a command when it was entered."""
        view = self.screen
        if event.kind == ":" and event.done and event.text.strip():
            self._obey(read(event.text))
        elif event.kind == "/" and isinstance(view, View):
            view.take_filter(event.text, done=event.done)

    def on_prompt_left(self, event: Prompt.Left) -> None:
        """Nothing was typed after all: the filter goes."""
        view = self.screen
        if event.kind == "/" and isinstance(view, View):
            view.take_filter("", done=True)

    def _obey(self, typed: TypedCommand) -> None:
        match typed.word:
            case "q" | "quit":
                self.leave()
            case "rw":
                self._ask_for_writes()
            case "ro":
                self.writes_until_ms = None
                self.refresh_bindings()
                self.flash("read-only")
            case "ctx":
                self._switch(typed.rest)
            case "theme":
                self._set_theme(typed.rest)
            case "messages":
                self.push_screen(Messages())
            case "help":
                self.show_help(self.screen)
            case "run" | "job" | "worker" | "schedule" | "partition" if typed.rest:
                self._open_named(typed.word, typed.rest)
            case name if name in VIEWS:
                self.navigation.open_root(name)
                if typed.rest:
                    self.navigation.filter_view(typed.rest)
            case name:
                self.flash(
                    f"there is no command {name}; ? shows the keys, ctrl+p all commands", "bad"
                )

    def _open_named(self, kind: str, rest: str) -> None:
        if kind == "worker":
            self.navigation.open_object(kind, rest)
        elif rest.removeprefix("p" if kind == "partition" else "").isdecimal():
            self.navigation.open_object(kind, int(rest.removeprefix("p")))
        else:
            self.flash(f"{rest} is no {kind}'s number", "bad")

    def _ask_for_writes(self) -> None:
        if self.replayed:
            self.flash("this is a recording: nothing can be changed", "bad")
        elif self.store.role in {Role.VIEWER, None}:
            self.flash(f"the role of {self.store.client_id or 'this client'} may only look", "bad")
        else:
            self.writes_until_ms = self.now_ms() + _WRITES_MS
            self.refresh_bindings()
            self.flash("actions are there for 15 minutes; :ro ends it", "warn")

    def _switch(self, name: str) -> None:
        if name == self.source.target.name:
            self.flash(f"this is {name}")
        elif name in self.contexts:
            self.leave(ContextSwitch(name))
        else:
            known = ", ".join(self.contexts)
            self.flash(f"there is no context {name or '–'}; there are: {known}", "bad")

    def _set_theme(self, name: str) -> None:
        if name in self.available_themes:
            self.theme = name
        else:
            self.flash(
                f"there is no theme {name or '–'}; there are: {', '.join(self.themes())}", "bad"
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

    # The end.

    async def action_quit(self) -> None:
        """Textual's own key for it, ctrl+q, does no more than ours."""
        if self.sender.unanswered and self.view_in_front is None:
            self.pop_screen()  # A dialog, which would hide what is said.
        self.leave()

    def leave(self, result: int | ContextSwitch = 0) -> None:
        """End, unless actions are on their way: that has to be asked for twice."""
        if self.sender.may_leave():
            self.exit(result)
