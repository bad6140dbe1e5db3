"""Owns the menu of what a table can be sorted by."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from tui.core.spans import shown


class SortMenu(ModalScreen[str | None]):
    """Returns the field that was chosen; None: none."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "leave", "leave", show=False)]
    DEFAULT_CSS = """
    SortMenu { align: center middle; }
    SortMenu > OptionList { width: 40; height: auto; max-height: 80%; border: round $primary; }
    """

    def __init__(self, columns: list[tuple[str, str]], current: str) -> None:
        super().__init__()
        self._columns = columns
        self._current = current

    def compose(self) -> ComposeResult:
        """The columns."""
        yield OptionList(
            *(
                Option(
                    Content(shown(f"{'▸ ' if field == self._current else '  '}{title}")),
                    id=f"f{at}",
                )
                for at, (field, title) in enumerate(self._columns)
            )
        )

    def on_mount(self) -> None:
        """Begin at the first option, whichever key comes first."""
        self.query_one(OptionList).highlighted = 0

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """One was chosen; the one that is sorted by turns round."""
        event.stop()
        self.dismiss(self._columns[event.option_index][0])

    def action_leave(self) -> None:
        """None."""
        self.dismiss(None)
