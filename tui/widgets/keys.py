"""Makes Textual's bindings from the console's commands."""

from collections.abc import Iterable
from typing import Final

from textual.binding import Binding, BindingType

from tui.core.commands import COMMANDS


def id_of(name: str) -> str:
    """What a command is called in keys.toml: `view.runs`, `sort_column.-1`."""
    return name.replace("(", ".").replace(")", "").replace("'", "")


KEY_IDS: Final = frozenset(id_of(name) for name in COMMANDS)


def bindings(names: Iterable[str]) -> list[BindingType]:
    """A binding for each of these commands."""
    made: list[BindingType] = []
    for name in names:
        command = COMMANDS[name]
        made.append(
            Binding(
                command.keys,
                name,
                command.word,
                show=command.priority > 0,
                key_display=command.shown,
                id=id_of(name),
                tooltip=command.tip,
            )
        )
    return made
