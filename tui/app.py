"""Puts the console together: what is typed, and what is changed."""

from collections.abc import Callable
from typing import Final

import msgspec

from control.model.api.views import JobView, Page
from control.model.states import Role
from tui.base import Base, ContextSwitch
from tui.core.actions import Action, Thing, name, order, question
from tui.core.command_line import TypedCommand, read
from tui.core.commands import VIEWS
from tui.core.worst import worst
from tui.link.export_file import write_new
from tui.link.source import LinkError, decoded
from tui.screens.base_view import View
from tui.screens.confirm import Confirm
from tui.screens.text_screens import Messages
from tui.widgets.prompt import Prompt

_WRITES_MS: Final = 15 * 60_000
_JOBS_LOOKED_AT: Final = 1_000  # Of a run, for the one that needs to be seen most.


class _Size(msgspec.Struct, frozen=True):
    """How many runs a backfill would start."""

    planned: int


class Console(Base):
    """The operator's console."""

    _undone = 0  # Actions that are on their way.
    _warned = False  # That leaving now cuts them off.

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
                self.open_root(name)
                if typed.rest:
                    self.filter_view(typed.rest)
            case name:
                self.flash(
                    f"there is no command {name}; ? shows the keys, ctrl+p all commands", "bad"
                )

    def _open_named(self, kind: str, rest: str) -> None:
        if kind == "worker":
            self.open_object(kind, rest)
        elif rest.removeprefix("p" if kind == "partition" else "").isdecimal():
            self.open_object(kind, int(rest.removeprefix("p")))
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

    # The worst job of a run.

    def explain_run(self, run_id: int) -> None:
        """Explain the job of a run that needs it most."""
        self.run_worker(self._with_worst(run_id, self.explain), group="open", exclusive=True)

    def open_worst(self, run_id: int) -> None:
        """A run's own screen, on the job that needs to be seen most."""

        def open_it(job_id: int) -> None:
            self.open_run(run_id, job_id)

        self.run_worker(self._with_worst(run_id, open_it), group="open", exclusive=True)

    async def _with_worst(self, run_id: int, use: Callable[[int], None]) -> None:
        query = {"limit": str(_JOBS_LOOKED_AT)}
        try:
            raw = await self.source.ask("GET", f"/v1/runs/{run_id}/jobs", query=query)
            found = worst(decoded(raw, Page[JobView]).items)
        except LinkError as error:
            self.flash(f"run {run_id}: {error}", "bad")
            return
        if found is not None:
            use(found.id)

    # What is changed.

    def confirm(
        self, command: str, things: list[Thing], *, since: str = "", until: str = ""
    ) -> None:
        """Ask, naming each object; what is done is done to those very objects."""
        if not things:
            self.flash(f"there is nothing here to {command}", "bad")
            return
        things = list(dict.fromkeys(things))  # Several groups may be of one run.
        orders = [order(command, thing, since=since, until=until) for thing in things]
        if command == "backfill":
            work = self._confirm_backfill(things, orders, {"since": since, "until": until})
            self.run_worker(work, group="open", exclusive=True)
        else:
            self.push_screen(Confirm(question(command, things), orders), self._carry_out)

    async def _confirm_backfill(
        self, things: list[Thing], orders: list[Action], stretch: dict[str, str]
    ) -> None:
        """Ask the server first how many runs that starts: a day has a thousand minutes."""
        runs = 0
        try:
            for each in orders:
                raw = await self.source.ask("GET", each.path, query=stretch)
                runs += decoded(raw, _Size).planned
        except LinkError as error:
            self.flash(f"backfill: {error}", "bad")
            return
        if not runs:
            self.flash("no time of the last day was missed: there is nothing to make up for")
            return
        of = name(things[0]) if len(things) == 1 else f"these {len(things)}"
        asked = f"Start {runs} {'run' if runs == 1 else 'runs'} for missed times of {of}?"
        self.push_screen(Confirm(asked, orders, max(runs, len(orders))), self._carry_out)

    def _carry_out(self, orders: list[Action] | None) -> None:
        if orders is None:
            self.flash("nothing was done")
        elif not self.may_write:
            self.flash("read-only: nothing was done", "bad")
        else:
            self.run_worker(self._send(orders), group="orders")

    async def _send(self, orders: list[Action]) -> None:
        done, self._warned = 0, False
        self._undone += len(orders)
        for at, each in enumerate(orders):
            if not self.may_write:
                self._undone -= len(orders) - at
                self.flash(f"read-only: {len(orders) - at} of {len(orders)} were not tried", "bad")
                break
            try:
                await self.source.ask(each.method, each.path, body=each.body)
            except LinkError as error:
                self.flash(f"{each.line}: {error}", "bad")
            else:
                done += 1
                self.flash(each.done, "good", each.line)
            self._undone -= 1
        if len(orders) > 1:
            self.flash(f"{done} of {len(orders)} done", "bad" if done < len(orders) else "good")
        self.session.ask_again()

    async def action_quit(self) -> None:
        """Textual's own key for it, ctrl+q, does no more than ours."""
        if self._undone and self.view_in_front is None:
            self.pop_screen()  # A dialog, which would hide what is said.
        self.leave()

    def leave(self, result: int | ContextSwitch = 0) -> None:
        """End, unless actions are on their way: that has to be asked for twice."""
        if not self._undone or self._warned:
            self.exit(result)
            return
        self._warned = True
        self.flash(f"actions on their way: {self._undone}. Once more leaves all the same", "bad")

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
