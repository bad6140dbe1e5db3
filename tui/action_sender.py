"""Owns what the operator changes: each action is confirmed, sent, and reported."""

from typing import Any

import msgspec
from textual.app import App

from tui.core.actions import Action, Thing, name, order, question
from tui.link.source import LinkError, decoded
from tui.screens.confirm import Confirm
from tui.screens.console_protocol import ConsoleProtocol


class _Size(msgspec.Struct, frozen=True):
    """How many runs a backfill would start."""

    planned: int


class ActionSender:
    """Confirms and sends actions. `app` and `console` are the same object."""

    def __init__(self, app: App[Any], console: ConsoleProtocol) -> None:
        self._app = app
        self._console = console
        self.unanswered = 0  # Actions that were sent, or wait to be.
        self._warned = False  # That leaving now cuts them off.

    def confirm(
        self, command: str, things: list[Thing], *, since: str = "", until: str = ""
    ) -> None:
        """Ask, naming each object; what is done is done to those very objects."""
        if not things:
            self._console.flash(f"there is nothing here to {command}", "bad")
            return
        things = list(dict.fromkeys(things))  # Several groups may be of one run.
        actions = [order(command, thing, since=since, until=until) for thing in things]
        if command == "backfill":
            work = self._confirm_backfill(things, actions, {"since": since, "until": until})
            self._app.run_worker(work, group="open", exclusive=True)
        else:
            self._app.push_screen(Confirm(question(command, things), actions), self._carry_out)

    def may_leave(self) -> bool:
        """Whether the console may end; with actions on their way only the second time."""
        if not self.unanswered or self._warned:
            return True
        self._warned = True
        self._console.flash(
            f"actions on their way: {self.unanswered}. Once more leaves all the same", "bad"
        )
        return False

    async def _confirm_backfill(
        self, things: list[Thing], actions: list[Action], stretch: dict[str, str]
    ) -> None:
        """Ask the server first how many runs that starts: a day has a thousand minutes."""
        runs = 0
        try:
            for action in actions:
                raw = await self._console.source.ask("GET", action.path, query=stretch)
                runs += decoded(raw, _Size).planned
        except LinkError as error:
            self._console.flash(f"backfill: {error}", "bad")
            return
        if not runs:
            self._console.flash(
                "no time of the last day was missed: there is nothing to make up for"
            )
            return
        of = name(things[0]) if len(things) == 1 else f"these {len(things)}"
        asked = f"Start {runs} {'run' if runs == 1 else 'runs'} for missed times of {of}?"
        self._app.push_screen(Confirm(asked, actions, max(runs, len(actions))), self._carry_out)

    def _carry_out(self, actions: list[Action] | None) -> None:
        if actions is None:
            self._console.flash("nothing was done")
        elif not self._console.may_write:
            self._console.flash("read-only: nothing was done", "bad")
        else:
            self._app.run_worker(self._send(actions), group="orders")

    async def _send(self, actions: list[Action]) -> None:
        flash, count = self._console.flash, len(actions)
        done, self._warned = 0, False
        self.unanswered += count
        for at, action in enumerate(actions):
            if not self._console.may_write:
                self.unanswered -= count - at
                flash(f"read-only: {count - at} of {count} were not tried", "bad")
                break
            try:
                await self._console.source.ask(action.method, action.path, body=action.body)
            except LinkError as error:
                flash(f"{action.line}: {error}", "bad")
            else:
                done += 1
                flash(action.done, "good", action.line)
            self.unanswered -= 1
        if count > 1:
            flash(f"{done} of {count} done", "bad" if done < count else "good")
        self._console.session.ask_again()
