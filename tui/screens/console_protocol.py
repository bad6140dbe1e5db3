"""Owns what screens need of the app; `tui/app.py` is it."""

from collections.abc import Callable
from typing import Any, Protocol

from textual.screen import Screen

from tui.core.actions import Thing
from tui.core.alerts import Concern
from tui.core.notifications import FlashNotice
from tui.core.spans import Look, Span
from tui.core.store import Store
from tui.link.session import ConsoleSession
from tui.link.source import Source
from tui.panes.bars import Mode
from tui.widgets.table import Table


class ConsoleProtocol(Protocol):
    """The app, as screens see it."""

    source: Source
    store: Store
    session: ConsoleSession
    window: str
    acknowledged: dict[str, int]
    messages: list[FlashNotice]
    now_ms: Callable[[], int]

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

    def flash_now(self) -> Span | None:
        """What the flash line says now."""

    def line_now(self) -> str:
        """The `tpctl` line that the flash line shows; empty: none."""

    def command_words(self) -> list[str]:
        """What is offered while a command is typed."""

    def open_view(self, name: str) -> None:
        """Go to one of the six."""

    def open_root(self, name: str) -> None:
        """Go to one of the six, and up to its root."""

    def step(self, way: int) -> None:
        """Back or forward in the history of views."""

    def last_view(self) -> None:
        """Between the last two views."""

    def toggle_freeze(self) -> None:
        """Freeze the picture, or let it live."""

    def open_run(self, run_id: int, job_id: int | None = None) -> None:
        """A run's own screen."""

    def open_object(self, kind: str, key: int | str) -> None:
        """Whatever it is, its own place."""

    def show_help(self, view: Screen[Any]) -> None:
        """The keys that do something on this view."""

    def show_palette(self) -> None:
        """Every command by name."""

    def explain(self, job_id: int) -> None:
        """Why a job waits, runs, or has ended."""

    def explain_run(self, run_id: int) -> None:
        """Explain the job of a run that needs it most."""

    def open_worst(self, run_id: int) -> None:
        """A run's own screen, on the job that needs to be seen most."""

    def confirm(
        self, command: str, things: list[Thing], *, since: str = "", until: str = ""
    ) -> None:
        """Ask before something is changed."""

    def leave(self) -> None:
        """End, unless actions are on their way."""

    def show_record(self, title: str, record: object) -> None:
        """A whole record, field by field."""

    def choose_order(self, table: Table[Any]) -> None:
        """Let the user choose what a table is sorted by."""

    def filter_view(self, text: str) -> None:
        """Filter the view in front."""

    def copy(self, text: str, what: str) -> None:
        """Give text to the terminal's clipboard."""

    def save(self, name: str, text: str) -> None:
        """Write a file here."""
