"""Makes Textual's bindings from the console's commands."""

from collections.abc import Iterable

from textual.binding import Binding, BindingType

from tui.core.commands import COMMANDS


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
                id=name.replace("(", ".").replace(")", "").replace("'", ""),
                tooltip=command.tip,
            )
        )
    return made
