"""Owns the question before something is changed: it names every object, and the same in `tpctl`."""

from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input

from tui.core.orders import Order, name
from tui.core.spans import Line, line
from tui.widgets.box import Lines

_SHOWN_MAX: Final = 10


class Confirm(ModalScreen[list[Order] | None]):
    """Returns the orders when they are confirmed, and None when not.

    More than one object: their number has to be typed.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,n", "refuse", "no", show=False),
        Binding("y,enter", "accept", "yes", show=False),
    ]
    DEFAULT_CSS = """
    Confirm { align: center middle; }
    Confirm > Vertical { width: 84; max-width: 95%; height: auto; max-height: 90%; }
    Confirm Lines { height: auto; }
    Confirm Input { border: none; height: 1; background: $surface; padding: 0 2; }
    """

    def __init__(self, question: str, orders: list[Order]) -> None:
        super().__init__()
        self._question = question
        self._orders = orders

    @property
    def _many(self) -> bool:
        return len(self._orders) > 1

    def compose(self) -> ComposeResult:
        """The question, the objects, the lines."""
        lines = self._lines()
        box = Lines(id="question", focusable=not self._many)
        box.styles.height = len(lines) + 2
        box.heading = line((self._question, "warn"))
        box.footing = (
            line(f"type {len(self._orders)} and ↵   esc: no")
            if self._many
            else line("y or ↵   esc: no")
        )
        with Vertical():
            yield box
            if self._many:
                yield Input(id="count", compact=True, placeholder=f"type {len(self._orders)}")

    def on_mount(self) -> None:
        """Draw it."""
        self.call_after_refresh(self.query_one(Lines).show, self._lines())
        (self.query_one(Input) if self._many else self.query_one(Lines)).focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Only the right number will do."""
        event.stop()
        if event.value.strip() == str(len(self._orders)):
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
        shown: list[Line] = [line(f" {name(each.thing)}") for each in self._orders[:_SHOWN_MAX]]
        if len(self._orders) > _SHOWN_MAX:
            shown.append(line((f" and {len(self._orders) - _SHOWN_MAX} more", "dim")))
        shown.append(())
        shown.append(line((" the same in a shell:", "dim")))
        shown += [line((f"   {each.line}", "accent")) for each in self._orders[:_SHOWN_MAX]]
        return shown
