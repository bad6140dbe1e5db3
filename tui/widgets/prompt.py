"""Owns the line in which commands and filters are typed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message
from textual.suggester import SuggestFromList
from textual.widget import Widget
from textual.widgets import Input


class Prompt(Input):
    """A line to type in, there only while something is typed: `:` or `/`."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", "cancel", show=False)]
    DEFAULT_CSS = """
    Prompt { display: none; height: 1; border: none; padding: 0 1; background: $surface; }
    Prompt:focus { border: none; }
    Prompt.typing { display: block; }
    """

    @dataclass
    class Typed(Message):
        """Something was typed; `done`: and entered."""

        kind: str
        text: str
        done: bool

    @dataclass
    class Left(Message):
        """Nothing is typed after all."""

        kind: str

    def __init__(self, *, id: str) -> None:  # noqa: A002 - Textual's word.
        super().__init__(id=id, compact=True, select_on_focus=False)
        self._kind = ""
        self._before: Widget | None = None  # What had the keys before.

    @property
    def typing(self) -> str:
        """What is typed now: `:`, `/`, or nothing."""
        return self._kind if self.has_class("typing") else ""

    def begin(self, kind: str, text: str, words: Sequence[str]) -> None:
        """Ask for a command (`:`) or a filter (`/`); `words` are offered."""
        self._kind = kind
        self._before = self.screen.focused
        offered = [f"{word}:" for word in words] if kind == "/" else list(words)
        self.suggester = SuggestFromList(offered, case_sensitive=False)
        self.placeholder = (
            "filter: text, !not, ~fuzzy, field:value, field:>10s"
            if kind == "/"
            else "command: runs acme, run 4711, job 90210, ctx prod, rw, theme nord, q"
        )
        self.value = text
        self.cursor_position = len(text)
        self.add_class("typing")
        self.screen.set_focus(self)  # At once: the next key is its own.

    def on_input_changed(self, event: Input.Changed) -> None:
        """A filter works while it is typed."""
        event.stop()
        if self.has_class("typing"):
            self.post_message(self.Typed(self._kind, self.value, done=False))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """It was entered."""
        event.stop()
        self._leave()
        self.post_message(self.Typed(self._kind, self.value, done=True))

    def action_cancel(self) -> None:
        """Nothing after all."""
        self._leave()
        self.post_message(self.Left(self._kind))

    def _leave(self) -> None:
        self.remove_class("typing")
        self.screen.set_focus(self._before)
