"""Owns the question before something is changed: it names every object, and the same in `tpctl`."""

from textwrap import wrap
from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input

from tui.core.actions import Action, name
from tui.core.spans import Line, fit, line
from tui.keyboard import Question
from tui.widgets.box import Lines
from tui.widgets.reader import TextReader

_NAME_MAX: Final = 40
_ROWS_MAX: Final = 20
_LINE: Final = 74


class Confirm(Question[list[Action] | None], ModalScreen[list[Action] | None]):
    """Returns the orders when they are confirmed, and None when not.

    More than one object, or run that starts: the number has to be typed. Enter alone is none.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,n", "refuse", "no", show=False),
        Binding("y", "accept", "yes", show=False),
    ]
    DEFAULT_CSS = """
    Confirm { align: center middle; }
    Confirm > Vertical { width: 84; max-width: 95%; height: auto; max-height: 90%; }
    Confirm Lines { height: auto; }
    Confirm Reader { height: auto; }
    Confirm Input { border: none; height: 1; background: $surface; padding: 0 2; }
    """

    def __init__(self, question: str, orders: list[Action], count: int | None = None) -> None:
        super().__init__()
        self._question = question
        self._orders = orders
        self._count = len(orders) if count is None else count  # What has to be typed.

    @property
    def _many(self) -> bool:
        return len(self._orders) > 1 or self._count > 1

    def compose(self) -> ComposeResult:
        """The question, the objects, the lines."""
        lines = self._lines()
        box = TextReader(id="question") if self._many else Lines(id="question")
        box.styles.height = min(len(lines), _ROWS_MAX) + 2
        box.heading = line((self._question, "warn"))
        box.footing = (
            line(f"type {self._count} and ↵   tab: look at all   esc: no")
            if self._many
            else line("y: yes   esc: no")
        )
        with Vertical():
            yield box
            if self._many:
                yield Input(id="count", compact=True, placeholder=f"type {self._count}")

    def on_mount(self) -> None:
        """Draw it."""
        if self._many:
            self.call_after_refresh(self.query_one(TextReader).replace, self._lines())
            self.query_one(Input).focus()
        else:
            self.call_after_refresh(self.query_one(Lines).show, self._lines())
            self.query_one(Lines).focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Only the right number will do."""
        event.stop()
        if event.value.strip() == str(self._count):
            self.dismiss(self._orders)
        else:
            event.input.value = ""

    def action_accept(self) -> None:
        """Do it; more than one have to be counted first."""
        if not self._many:
            self.dismiss(self._orders)

    def action_refuse(self) -> None:
        """Do nothing."""
        self.dismiss(None)

    def _lines(self) -> list[Line]:
        if len(self._orders) == 1:
            (only,) = self._orders
            told = [line(f" {name(only.thing)}"), (), line((" the same in a shell:", "dim"))]
            # The line is the promise of the question: all of it is seen.
            return [*told, *(line((f"   {each}", "accent")) for each in wrap(only.line, _LINE))]
        width = max(len(name(each.thing)) for each in self._orders)
        return [
            line(f" {fit(name(each.thing), min(width, _NAME_MAX))}  ", (each.line, "accent"))
            for each in self._orders
        ]
