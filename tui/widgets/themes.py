"""Decides which themes there are: ours, Textual's, and the user's own."""

from collections.abc import Mapping
from typing import Any, Final

from textual.app import App
from textual.color import Color, ColorParseError
from textual.theme import Theme

from tui.link.contexts import THEMES_FILE, Colours

DEFAULT: Final = "taskplane-dark"
_OWN: Final = (
    Theme(
        name=DEFAULT,
        primary="#0178d4",
        secondary="#a36fd6",  # Slow: to be told from fast at a glance.
        accent="#ffa62b",
        warning="#ffa62b",
        error="#ba3c5b",
        success="#4ebf71",
        foreground="#e0e0e0",
    ),
    Theme(
        name="taskplane-light",
        primary="#004578",
        secondary="#7b3fb5",
        accent="#a3590a",
        warning="#a3590a",
        error="#ba3c5b",
        success="#2f7d45",
        surface="#d8d8d8",
        panel="#d0d0d0",
        background="#e0e0e0",
        dark=False,
    ),
)


def register(app: App[Any], own: Mapping[str, Colours]) -> list[str]:
    """Have the app know these themes; what is wrong with the user's own ones, in words."""
    for theme in _OWN:
        app.register_theme(theme)
    problems = []
    dark, light = _OWN
    for name, colours in own.items():
        ours = dark if colours.dark else light
        given = {
            field: value
            for field in colours.__struct_fields__
            if (value := getattr(colours, field)) is not None
            or (value := getattr(ours, field)) is not None
        }
        wrong = [each for each in given.values() if isinstance(each, str) and not _is_colour(each)]
        if wrong:
            problems.append(f"{THEMES_FILE}: {name}: {wrong[0]} is no colour")
        else:
            app.register_theme(Theme(name=name, **given))
    return problems


def _is_colour(text: str) -> bool:
    try:
        Color.parse(text)
    except ColorParseError:
        return False
    return True
