"""Makes the card of keys, docs/console-keys.md, from the console's own list of commands."""

from collections.abc import Iterable
from typing import Final, get_args

from tui.core.commands import COMMANDS, Command, Group

_ABOUT: Final[dict[Group, str]] = {
    "Everywhere": "In every view.",
    "Tables": "Where there is a list; arrows, `j k g G`, `ctrl+d` `ctrl+u` move, `↵` opens.",
    "Logs": "Where there is text: logs, describe, explain, messages.",
    "Actions": "There after `:rw`, for 15 minutes, where the role of the client allows it.",
}


def key_card() -> str:
    """The page. It is made by `make shots`."""
    parts = [
        "# Keys of the console",
        "`tpctl tui`; `?` there lists those of the view in front. This page is made from the\n"
        "console's own list by `make shots`. [The console](console.md) says what it is all for.",
    ]
    for group in get_args(Group):
        rows = [each for each in COMMANDS.values() if each.group == group]
        parts.append(f"## {group}\n\n{_ABOUT[group]}\n\n{_table(rows)}")
    return "\n\n".join(parts) + "\n"


def _table(rows: Iterable[Command]) -> str:
    lines = ["| key | | |", "|---|---|---|"]
    lines += [f"| `{each.shown}` | {each.word} | {each.tip} |" for each in rows]
    return "\n".join(lines)
