"""Decides what a typed command means, and what is offered while it is typed."""

from collections.abc import Iterable

import msgspec

from tui.core.commands import VIEWS

_SHORT = {
    "o": "overview",
    "pulse": "overview",
    "p": "partitions",
    "parts": "partitions",
    "lanes": "partitions",
    "s": "slow",
    "tasks": "slow",
    "r": "runs",
    "w": "workers",
    "wk": "workers",
    "sched": "schedules",
    "cron": "schedules",
    "context": "ctx",
    "msg": "messages",
    "h": "help",
    "q!": "q",
    "exit": "q",
}


class TypedCommand(msgspec.Struct, frozen=True):
    """A command's word, spelled out, and what follows it."""

    word: str
    rest: str = ""


def read(text: str) -> TypedCommand:
    """A command as it was typed."""
    word, _, rest = text.strip().removeprefix(":").partition(" ")
    word = word.lower()
    return TypedCommand(_SHORT.get(word, word), rest.strip())


def words(
    pipelines: Iterable[str], workers: Iterable[str], contexts: Iterable[str], themes: Iterable[str]
) -> list[str]:
    """What is offered while a command is typed."""
    made = [*VIEWS, "help", "messages", "rw", "ro", "quit"]
    made += [f"runs {name}" for name in pipelines]
    made += [f"worker {name}" for name in workers]
    made += [f"ctx {name}" for name in contexts]
    made += [f"theme {name}" for name in themes]
    return made
