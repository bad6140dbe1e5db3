"""Owns what screens need of the app; `tui/app.py` is it."""

from collections.abc import Callable
from typing import Any, Protocol

from textual.screen import Screen

from tui.core.actions import Thing
from tui.core.alerts import Concern
from tui.core.notifications import Notifications
from tui.core.spans import Look
from tui.core.store import Store
from tui.link.session import ConsoleSession
from tui.link.source import Source
from tui.panes.bars import Mode
from tui.widgets.table import Table


class NavigationProtocol(Protocol):
    """What screens need of `tui.navigation.Navigation`, which imports them."""

    def open_view(self, name: str) -> None:
        """Open one of the views."""

    def open_root(self, name: str) -> None:
        """Open one of the views, without the screens above it."""

    def step(self, way: int) -> None:
        """Open the view before (-1) or after (1) this one in the history."""

    def last_view(self) -> None:
        """Open the view that was open before this one."""

    def open_run(self, run_id: int, job_id: int | None = None) -> None:
        """Open a run's own screen."""

    def open_object(self, kind: str, key: int | str) -> None:
        """Open what shows an object best."""

    def explain(self, job_id: int) -> None:
        """Open the reasons why a job waits, runs, or has ended."""

    def explain_run(self, run_id: int) -> None:
        """Explain the job of a run that needs it most."""

    def open_worst(self, run_id: int) -> None:
        """Open a run's own screen, on the job that needs to be seen most."""

    def show_palette(self) -> None:
        """Open the list of all commands."""

    def show_record(self, title: str, record: object) -> None:
        """Open a whole record, field by field."""

    def choose_order(self, table: Table[Any]) -> None:
        """Open the choice of the column by which a table is sorted."""

    def filter_view(self, text: str) -> None:
        """Filter the view in front."""


class ActionSenderProtocol(Protocol):
    """What screens need of `tui.action_sender.ActionSender`."""

    def confirm(
        self, command: str, things: list[Thing], *, since: str = "", until: str = ""
    ) -> None:
        """Ask before something is changed."""


class ConsoleProtocol(Protocol):
    """The app, as screens see it."""

    source: Source
    session: ConsoleSession
    window: str
    acknowledged: dict[str, int]
    notices: Notifications
    now_ms: Callable[[], int]

    @property
    def store(self) -> Store:
        """What is shown."""

    @property
    def navigation(self) -> NavigationProtocol:
        """What opens views and screens."""

    @property
    def sender(self) -> ActionSenderProtocol:
        """What changes something."""

    @property
    def may_write(self) -> bool:
        """Whether actions are there."""

    def mode(self) -> Mode:
        """What the header says."""

    def picture_ms(self) -> int:
        """The server's time of what is shown."""

    def stale(self) -> str:
        """How old the picture is; empty: it is live."""

    def waiting_words(self) -> str:
        """What is said where nothing is known yet."""

    def concerns(self, *, acknowledged: bool = False) -> list[Concern]:
        """What is wrong, the worst first."""

    def flash(self, text: str, look: Look = "", line: str = "") -> None:
        """Say something in the flash line."""

    def forget_answers(self, keys: list[str]) -> None:
        """Forget the answers to these questions."""

    def flush_view(self) -> None:
        """Draw what has changed on the screen in front."""

    def command_words(self) -> list[str]:
        """What is offered while a command is typed."""

    def toggle_freeze(self) -> None:
        """Freeze the picture, or let it live."""

    def show_help(self, view: Screen[Any]) -> None:
        """The keys that do something on this view."""

    def leave(self) -> None:
        """End, unless actions are on their way."""

    def copy(self, text: str, what: str) -> None:
        """Give text to the terminal's clipboard."""

    def save(self, name: str, text: str) -> None:
        """Write a file here."""
