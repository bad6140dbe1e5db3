"""Owns the palette: every command that does something now, and objects by their names."""

from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import cast

from textual.command import DiscoveryHit, Hit, Provider
from textual.content import Content

from tui.core.commands import COMMANDS
from tui.core.spans import shown
from tui.screens.base_view import View
from tui.screens.console_protocol import ConsoleProtocol

_OBJECTS_MAX = 500


class Palette(Provider):
    """Commands first, then runs, workers, and schedules."""

    async def discover(self) -> AsyncIterator[DiscoveryHit]:
        """Everything that can be done here."""
        for text, tip, run in self._commands():
            yield DiscoveryHit(Content(text), run, text=text, help=tip)

    async def search(self, query: str) -> AsyncIterator[Hit]:
        """What the typed text fits."""
        matcher = self.matcher(query)
        for text, tip, run in (*self._commands(), *self._objects()):
            score = matcher.match(text)
            if score > 0:
                yield Hit(score, Content(text), run, text=text, help=tip)

    def _commands(self) -> Iterator[tuple[str, str, Callable[[], object]]]:
        view = self.screen
        if not isinstance(view, View):
            return
        for active in view.active_bindings.values():
            command = COMMANDS.get(active.binding.action)
            if command is not None and active.enabled and command.id != "palette":
                run = partial(self.app.run_action, command.id, active.node)
                yield f"{command.word}  {command.shown}", command.tip, run

    def _objects(self) -> Iterator[tuple[str, None, Callable[[], object]]]:
        # Without a help text: Textual takes it as markup, and an object's words are anybody's.
        console = cast("ConsoleProtocol", self.app)
        for run in list(console.store.runs.values())[-_OBJECTS_MAX:]:
            text = shown(f"run {run.id} {run.pipeline}  {run.state}")
            yield text, None, partial(console.navigation.open_run, run.id)
        for worker in list(console.store.workers)[:_OBJECTS_MAX]:
            text = shown(f"worker {worker}")
            yield text, None, partial(console.navigation.open_object, "worker", worker)
        for schedule in console.store.schedules():
            text = shown(f"schedule {schedule.id} {schedule.pipeline}  {schedule.spec.cron}")
            yield text, None, partial(console.navigation.open_object, "schedule", schedule.id)
