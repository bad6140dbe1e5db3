"""Decides what an action asks of the server, and which `tpctl` line would do the same."""

import shlex
from typing import Literal
from urllib.parse import quote

import msgspec

from control.model.json_values import Json

Kind = Literal["run", "job", "worker", "schedule"]


class Thing(msgspec.Struct, frozen=True, kw_only=True):
    """An object that an action is about. `words`: what people call it; kept as it was shown."""

    kind: Kind
    id: int | str
    words: str = ""
    priority: int = 0
    paused: bool = False


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """One call, and the line that does the same."""

    thing: Thing
    method: str
    path: str
    body: Json = None
    line: str
    done: str  # What is said when it has worked.


def order(command: str, thing: Thing, *, since: str = "", until: str = "") -> Action:
    """What this command asks for this thing. `since`, `until`: of a backfill, RFC 3339."""
    verb, said = _WORDS.get(command, (command, command))
    body: Json = None
    method = "POST"
    path = f"/v1/{thing.kind}s/{quote(str(thing.id), safe='')}"
    line = f"tpctl {thing.kind} {verb} {shlex.quote(str(thing.id))}"
    if command == "pause":
        verb, said = ("resume", "goes on") if thing.paused else ("pause", "is paused")
        line = f"tpctl schedule {verb} {thing.id}"
    if command in {"raise_priority", "lower_priority"}:
        # Smaller runs first.
        wanted = thing.priority + (-1 if command == "raise_priority" else 1)
        body, method, said = {"priority": wanted}, "PATCH", f"has priority {wanted}"
        line = f"tpctl job priority {thing.id} -- {wanted}"
    elif command == "backfill":
        body = {"from": since, "until": until}
        line += f" --from {since} --until {until}"
    if method == "POST":
        path += f"/{verb}"
    return Action(
        thing=thing, method=method, path=path, body=body, line=line, done=f"{name(thing)} {said}"
    )


def name(thing: Thing) -> str:
    """What a thing is called in a sentence."""
    return f"{thing.kind} {thing.id}{' ' if thing.words else ''}{thing.words}"


def question(command: str, things: list[Thing]) -> str:
    """What is asked before it is done."""
    verb = {
        "raise_priority": "raise the priority of",
        "lower_priority": "lower the priority of",
        "trigger": "start a run now of",
        "backfill": "start runs for the last day's missed times of",
    }.get(command, command)
    if command == "pause" and things[0].paused:
        verb = "resume"
    if len(things) == 1:
        return f"{verb[:1].upper()}{verb[1:]} {name(things[0])}?"
    return f"{verb[:1].upper()}{verb[1:]} these {len(things)}?"


_WORDS = {
    "retry": ("retry", "runs again"),
    "cancel": ("cancel", "is cancelled"),
    "drain": ("drain", "takes nothing new"),
    "trigger": ("trigger", "has been triggered"),
    "backfill": ("backfill", "makes up for what it missed"),
}
