"""Owns the console's commands: one list that keys, footer, help, and palette are all made from."""

from typing import Final, Literal

import msgspec

Group = Literal["Everywhere", "Tables", "Logs", "Actions"]


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """Something a key does. `keys`: as Textual calls them; `shown`: as people do.

    `writes`: it changes something on the server, so it is there only while that is allowed.
    `priority`: with 0 it is not in the footer, else smaller comes first.
    """

    id: str
    keys: str
    shown: str
    word: str
    tip: str
    group: Group
    writes: bool = False
    priority: int = 0


def _all() -> list[Command]:
    rows: list[tuple[Group, str, str, str, str, str, int]] = [
        # Group, id, keys, shown, word, tip, place in the footer.
        (
            "Everywhere",
            "command",
            "colon",
            ":",
            "command",
            "type a command: runs acme, job 81190",
            80,
        ),
        (
            "Everywhere",
            "filter",
            "slash",
            "/",
            "filter",
            "filter: text, !not, ~fuzzy, p95:>10s, state:error",
            60,
        ),
        ("Everywhere", "help", "question_mark", "?", "help", "the keys of this screen", 90),
        (
            "Everywhere",
            "back",
            "escape",
            "esc",
            "back",
            "clear the filter, close, go back; never quits",
            0,
        ),
        ("Everywhere", "view('overview')", "1", "1", "overview", "the pulse of everything", 0),
        (
            "Everywhere",
            "view('partitions')",
            "2",
            "2",
            "partitions",
            "lanes, and what is not placed yet",
            0,
        ),
        ("Everywhere", "view('slow')", "3", "3", "slow tasks", "where the slots' time goes", 0),
        ("Everywhere", "view('runs')", "4", "4", "runs", "runs and their jobs", 0),
        ("Everywhere", "view('workers')", "5", "5", "workers", "who runs what", 0),
        (
            "Everywhere",
            "view('schedules')",
            "6",
            "6",
            "schedules",
            "what the next 48 hours bring",
            0,
        ),
        (
            "Everywhere",
            "history(-1)",
            "left_square_bracket",
            "[",
            "back in time",
            "the view before",
            0,
        ),
        ("Everywhere", "history(1)", "right_square_bracket", "]", "forward", "the view after", 0),
        ("Everywhere", "last_view", "minus", "-", "last view", "between two views", 0),
        ("Everywhere", "freeze", "f", "f", "freeze", "freeze the picture; data keeps flowing", 55),
        ("Everywhere", "faults", "e", "e", "errors", "only what is wrong", 50),
        (
            "Everywhere",
            "window(-1)",
            "less_than_sign",
            "<",
            "shorter",
            "a shorter window of time",
            0,
        ),
        (
            "Everywhere",
            "window(1)",
            "greater_than_sign",
            ">",
            "longer",
            "a longer window of time",
            0,
        ),
        ("Everywhere", "zoom", "z", "z", "zoom", "the pane in focus alone, or all", 58),
        ("Everywhere", "palette", "ctrl+p", "ctrl+p", "palette", "every command by name", 0),
        (
            "Everywhere",
            "refresh",
            "ctrl+r",
            "ctrl+r",
            "refresh",
            "try again now, or a fresh snapshot",
            0,
        ),
        ("Everywhere", "quit", "q", "q", "quit", "leave, from the root of a view", 99),
        ("Tables", "sort", "o", "o", "sort", "choose what to sort by", 40),
        (
            "Tables",
            "sort_column(1)",
            "shift+right",
            "shift+→",
            "sort right",
            "sort by the next column",
            0,
        ),
        (
            "Tables",
            "sort_column(-1)",
            "shift+left",
            "shift+←",
            "sort left",
            "sort by the column before",
            0,
        ),
        ("Tables", "flip", "O", "O", "flip", "turn the order round", 0),
        ("Tables", "mark", "space", "space", "mark", "mark; actions take all marks", 45),
        ("Tables", "wide", "w", "w", "wide", "more columns, or fewer", 0),
        ("Tables", "copy", "y", "y", "copy", "copy the id", 0),
        ("Tables", "copy_row", "Y", "Y", "copy row", "copy the row as JSON", 0),
        ("Tables", "describe", "d", "d", "describe", "the whole record", 30),
        ("Tables", "explain", "x", "x", "explain", "why it waits, runs, or has ended", 20),
        ("Tables", "log", "l", "l", "log", "the log of the job", 15),
        ("Tables", "save", "ctrl+s", "ctrl+s", "save", "save what is shown: csv, json, svg", 0),
        ("Tables", "acknowledge", "a", "a", "acknowledge", "leave it out for an hour", 22),
        ("Tables", "zone", "Z", "Z", "zone", "times in UTC, or in the schedule's zone", 22),
        ("Tables", "graph", "v", "v", "graph", "stages side by side, or as a tree", 16),
        ("Tables", "tab", "t", "t", "next tab", "log, output, error, explain, attempts", 14),
        ("Logs", "follow", "F", "F", "follow", "follow the end; scrolling up stops it", 5),
        ("Logs", "hit(1)", "n", "n", "next", "the next line that the filter finds", 6),
        ("Logs", "hit(-1)", "N", "N", "previous", "the line before that the filter finds", 7),
        ("Logs", "put_mark", "m", "m", "mark", "put a line in, to find this moment again", 8),
        ("Logs", "wrap", "w", "w", "wrap", "wrap long lines, or cut them", 9),
        ("Logs", "attempt(-1)", "comma", ",", "attempt before", "the log of the attempt before", 0),
        (
            "Logs",
            "attempt(1)",
            "full_stop",
            ".",
            "attempt after",
            "the log of the attempt after",
            0,
        ),
        ("Logs", "copy_log", "c", "c", "copy", "copy what is shown", 0),
        ("Logs", "save_log", "ctrl+s", "ctrl+s", "save", "save the log to a file", 10),
    ]
    writing: list[tuple[str, str, str, str, str, int]] = [
        ("retry", "r", "r", "retry", "run failed and cancelled jobs again", 25),
        ("pause", "p", "p", "pause", "pause the schedule, or let it go on", 25),
        ("drain", "D", "D", "drain", "let the worker finish what it runs, and leave", 25),
        ("raise_priority", "plus", "+", "sooner", "the waiting job's priority up by one", 26),
        (
            "lower_priority",
            "underscore",
            "_",
            "later",
            "the waiting job's priority down by one",
            27,
        ),
        ("cancel", "ctrl+k", "ctrl+k", "cancel", "end it now", 28),
        ("trigger", "ctrl+t", "ctrl+t", "trigger", "start a run of the schedule now", 26),
        (
            "backfill",
            "B",
            "B",
            "backfill",
            "start runs for times of the last day that have none",
            27,
        ),
    ]
    found = [
        Command(group=group, id=name, keys=keys, shown=shown, word=word, tip=tip, priority=place)
        for group, name, keys, shown, word, tip, place in rows
    ]
    found += [
        Command(
            group="Actions",
            id=name,
            keys=keys,
            shown=shown,
            word=word,
            tip=tip,
            writes=True,
            priority=place,
        )
        for name, keys, shown, word, tip, place in writing
    ]
    return found


COMMANDS: Final = {command.id: command for command in _all()}
EVERYWHERE: Final = tuple(name for name, each in COMMANDS.items() if each.group == "Everywhere")
TABLES: Final = tuple(name for name, each in COMMANDS.items() if each.group == "Tables")
LOGS: Final = tuple(name for name, each in COMMANDS.items() if each.group == "Logs")
WRITES: Final = frozenset(name for name, each in COMMANDS.items() if each.writes)
WINDOWS: Final = ("5m", "15m", "1h", "6h", "24h", "7d")
VIEWS: Final = {
    "overview": "Overview",
    "partitions": "Partitions",
    "slow": "Slow tasks",
    "runs": "Runs",
    "workers": "Workers",
    "schedules": "Schedules",
}
