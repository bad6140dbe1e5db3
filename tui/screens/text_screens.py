"""Owns the screens of text: explain, describe, help, messages."""

from typing import Any, ClassVar

import msgspec
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.screen import Screen

from control.model.api.explanation import Explanation
from tui.core.commands import COMMANDS, Command
from tui.core.formatting import clock
from tui.core.spans import Line, Span, line
from tui.link.polling import PolledCall
from tui.screens import view_queries
from tui.screens.base_view import View
from tui.widgets.keys import bindings
from tui.widgets.reader import TextReader

_GROUPS = ("Everywhere", "Tables", "Logs", "Actions")
_SIGNS = (
    "○ READY   ● IN_PROGRESS   ✓ DONE   ✗ ERROR   ⊘ CANCELLED   ◐ draining   ‖ paused",
    "▲ over a limit   ! will be late   █ work or busy   ░ ready or free   ▓ over",
    "× skipped   ▒ many jobs in one row   ◆ critical path   ▸ cursor   * marked   … more",
    "Colour never carries a state alone; d says every sign in words.",
)
_FILTERS = (
    "text           rows that have it          !text      rows that have not",
    '~txt           its letters in this order  "two words" both together',
    "field:text     in that column             state:error, state:open, state:running",
    "field:>10s     more than; also < >= <= =  with ms s m h d, k M",
)


class TextView(View):
    """A screen of one text."""

    BINDINGS: ClassVar[list[BindingType]] = bindings(("copy_log", "save_log"))
    supports: ClassVar[frozenset[str]] = frozenset({"filter", "copy_log", "save_log"})
    title_of_text: ClassVar[str] = ""

    def body(self) -> ComposeResult:
        """The text."""
        yield TextReader(id="text")

    def path(self) -> list[str]:
        """Under what it is about."""
        stack = self.app.screen_stack
        below = stack[: stack.index(self)] if self in stack else []  # It may be covered itself.
        views = [view for view in below if isinstance(view, View)]
        return [*(views[-1].path() if views else ["overview"]), self.title_of_text]

    def text(self) -> list[Line]:
        """What is to be read."""
        raise NotImplementedError

    def heading(self) -> Line:
        """Its title."""
        return line((self.title_of_text.capitalize(), "title"))

    def paint(self, *, order: bool) -> None:
        """Draw it."""
        del order
        reader = self.query_one(TextReader)
        reader.heading = self.heading()
        reader.footing = line("/ search  n N hits  esc close")
        reader.replace(self.text())

    def action_copy_log(self) -> None:
        """Copy the text."""
        self.console.copy(self.query_one(TextReader).text, "the text")

    def action_save_log(self) -> None:
        """Write the text to a file."""
        self.console.save(f"tpctl-{self.title_of_text}.txt", self.query_one(TextReader).text)


class Explained(TextView):
    """Why a job waits, runs, or has ended."""

    title_of_text = "explain"

    def __init__(self, job_id: int) -> None:
        super().__init__()
        self._job_id = job_id

    def questions(self) -> list[PolledCall]:
        """The explanation, again and again: it changes."""
        return [view_queries.explanation(self._job_id)]

    def heading(self) -> Line:
        """Which job."""
        return line(("Explain ", "title"), f"job {self._job_id}")

    def text(self) -> list[Line]:
        """The reason, and the steps that led there."""
        answer = self.store.answers.get("explanation")
        found = self.store.value("explanation", Explanation)
        if found is None:
            problem = answer.problem if answer else ""
            return [line((f" {problem}", "bad")) if problem else line((" asking …", "dim"))]
        steps = [line(("  ▸ ", "dim"), step) for step in found.steps]
        return [line((f" {found.reason}", "bold")), (), *steps]


class Described(TextView):
    """A whole record, field by field."""

    title_of_text = "describe"

    def __init__(self, title: str, record: object) -> None:
        super().__init__()
        self._of = title
        # By way of JSON: outputs and inputs are kept as the server wrote them.
        self._record = msgspec.json.decode(msgspec.json.encode(record))

    def heading(self) -> Line:
        """Which record."""
        return line(("Describe ", "title"), self._of)

    def text(self) -> list[Line]:
        """Every field: nested ones indented."""
        return _spelled(self._record, 1)


class Messages(TextView):
    """Everything that the flash line has said."""

    title_of_text = "messages"

    def text(self) -> list[Line]:
        """The newest first."""
        said = reversed(self.console.notices.all)
        lines = [
            line(
                (f" {clock(each.at_ms)}Z  ", "dim"),
                (each.text, each.look),
                (f"  {each.line}", "accent"),
            )
            for each in said
        ]
        return lines or [line((" nothing was said yet", "dim"))]


class Help(TextView):
    """The keys that do something on the screen it was asked from."""

    title_of_text = "help"

    def __init__(self, view: Screen[Any], versions: str) -> None:
        super().__init__()
        self._versions = versions
        self._active = [
            COMMANDS[active.binding.action]
            for active in view.active_bindings.values()
            if active.enabled and active.binding.action in COMMANDS
        ]
        for reader in view.query(TextReader):  # Its keys are told of although it is not in focus.
            self._active += [
                COMMANDS[binding.action]
                for _, binding in reader._bindings  # noqa: SLF001 - there is no public way.
                if binding.action in COMMANDS and reader.check_action(binding.action, ())
            ]

    def text(self) -> list[Line]:
        """Groups of keys, then signs, filters, versions."""
        lines: list[Line] = []
        for group in _GROUPS:
            own = _unique([each for each in self._active if each.group == group])
            if own:
                lines.append(line((f" {group}", "title")))
                lines += [
                    line((f"   {each.shown:<9}", "accent"), f" {each.word:<14} ", (each.tip, "dim"))
                    for each in own
                ]
                if group == "Tables":
                    lines.append(
                        line(
                            ("   j k g G  ", "accent"),
                            "down up top end; ctrl+d ctrl+u half a page; ↵ opens",
                        )
                    )
                lines.append(())
        if not any(each.group == "Actions" for each in self._active):
            lines += [
                line((" Actions are hidden: :rw shows them, where your role allows it", "dim")),
                (),
            ]
        lines += [line((" Filters", "title")), *(line(f"   {each}") for each in _FILTERS), ()]
        lines += [line((" Signs", "title")), *(line(f"   {each}") for each in _SIGNS), ()]
        return [*lines, line((f" {self._versions}", "dim"))]


def _unique(commands: list[Command]) -> list[Command]:
    return list({command.id: command for command in commands}.values())


def _spelled(value: object, depth: int, name: str = "") -> list[Line]:
    indent = "  " * depth
    label: Span = (f"{indent}{name}: " if name else indent, "dim")
    if isinstance(value, dict) and value:
        head = [line((f"{indent}{name}:", "dim"))] if name else []
        return head + [
            each
            for key, below in value.items()
            for each in _spelled(below, depth + bool(name), str(key))
        ]
    if isinstance(value, list | tuple) and value:
        return [line((f"{indent}{name}:", "dim"))] + [
            each for below in value for each in _spelled(below, depth + 1, "-")
        ]
    text = "–" if value is None else str(value)
    return [
        line(label if at == 0 else (indent, ""), part) for at, part in enumerate(text.split("\n"))
    ]
