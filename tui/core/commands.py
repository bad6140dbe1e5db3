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


# Group, id, keys as Textual calls them and as people do, word, place in the footer (0: none), tip.
# fmt: off
_ROWS: Final[tuple[tuple[Group, str, str, str, str, int, str], ...]] = (
    ("Everywhere", "command", "colon", ":", "command", 80, "type a command: runs acme, job 81190"),
    ("Everywhere", "filter", "slash", "/", "filter", 60,
     "filter: text, !not, ~fuzzy, p95:>10s, state:error"),
    ("Everywhere", "help", "question_mark", "?", "help", 90, "the keys of this screen"),
    ("Everywhere", "back", "escape", "esc", "back", 0,
     "clear the filter, close, go back; never quits"),
    ("Everywhere", "view('overview')", "1", "1", "overview", 0, "the pulse of everything"),
    ("Everywhere", "view('partitions')", "2", "2", "partitions", 0,
     "lanes, and what is not placed yet"),
    ("Everywhere", "view('slow')", "3", "3", "slow tasks", 0, "where the slots' time goes"),
    ("Everywhere", "view('runs')", "4", "4", "runs", 0, "runs and their jobs"),
    ("Everywhere", "view('workers')", "5", "5", "workers", 0, "who runs what"),
    ("Everywhere", "view('schedules')", "6", "6", "schedules", 0, "what the next 48 hours bring"),
    ("Everywhere", "history(-1)", "left_square_bracket", "[", "back in time", 0, "the view before"),
    ("Everywhere", "history(1)", "right_square_bracket", "]", "forward", 0, "the view after"),
    ("Everywhere", "last_view", "minus", "-", "last view", 0, "between two views"),
    ("Everywhere", "freeze", "f", "f", "freeze", 55, "freeze the picture; data keeps flowing"),
    ("Everywhere", "faults", "e", "e", "errors", 50, "only what is wrong"),
    ("Everywhere", "window(-1)", "less_than_sign", "<", "shorter", 0, "a shorter window of time"),
    ("Everywhere", "window(1)", "greater_than_sign", ">", "longer", 0, "a longer window of time"),
    ("Everywhere", "zoom", "z", "z", "zoom", 58, "the pane in focus alone, or all"),
    ("Everywhere", "palette", "ctrl+p", "ctrl+p", "palette", 0, "every command by name"),
    ("Everywhere", "refresh", "ctrl+r", "ctrl+r", "refresh", 0,
     "try again now, or a fresh snapshot"),
    ("Everywhere", "quit", "q", "q", "quit", 99, "leave, from the root of a view"),
    ("Tables", "sort", "o", "o", "sort", 40, "choose what to sort by"),
    ("Tables", "sort_column(1)", "shift+right", "shift+→", "sort right", 0,
     "sort by the next column"),
    ("Tables", "sort_column(-1)", "shift+left", "shift+←", "sort left", 0,
     "sort by the column before"),
    ("Tables", "flip", "O", "O", "flip", 0, "turn the order round"),
    ("Tables", "mark", "space", "space", "mark", 45, "mark; actions take all marks"),
    ("Tables", "wide", "w", "w", "wide", 0, "more columns, or fewer"),
    ("Tables", "copy", "y", "y", "copy", 0, "copy the id"),
    ("Tables", "copy_row", "Y", "Y", "copy row", 0, "copy the row as JSON"),
    ("Tables", "describe", "d", "d", "describe", 30, "the whole record"),
    ("Tables", "explain", "x", "x", "explain", 20, "why it waits, runs, or has ended"),
    ("Tables", "log", "l", "l", "log", 15, "the log of the job"),
    ("Tables", "lane", "P", "P", "partition", 21, "the partition that the worker serves"),
    ("Tables", "save", "ctrl+s", "ctrl+s", "save", 0, "save what is shown: csv, json, svg"),
    ("Tables", "acknowledge", "a", "a", "acknowledge", 22, "leave it out for an hour"),
    ("Tables", "zone", "Z", "Z", "zone", 22, "times in UTC, or in the schedule's zone"),
    ("Tables", "graph", "v", "v", "graph", 16, "stages side by side, or as a tree"),
    ("Tables", "child", "enter", "↵", "its run", 0, "the run that a job of kind Pipeline is"),
    ("Tables", "parent", "u", "u", "up", 0, "the run that this one is a job of"),
    ("Tables", "tab", "t", "t", "next tab", 14, "log, output, error, explain, attempts"),
    ("Logs", "follow", "F", "F", "follow", 5, "follow the end; scrolling up stops it"),
    ("Logs", "hit(1)", "n", "n", "next", 6, "the next line that the filter finds"),
    ("Logs", "hit(-1)", "N", "N", "previous", 7, "the line before that the filter finds"),
    ("Logs", "put_mark", "m", "m", "mark", 8, "put a line in, to find this moment again"),
    ("Logs", "wrap", "w", "w", "wrap", 9, "wrap long lines, or cut them"),
    ("Logs", "attempt(-1)", "comma", ",", "attempt before", 0, "the log of the attempt before"),
    ("Logs", "attempt(1)", "full_stop", ".", "attempt after", 0, "the log of the attempt after"),
    ("Logs", "copy_log", "c", "c", "copy", 0, "copy what is shown"),
    ("Logs", "save_log", "ctrl+s", "ctrl+s", "save", 70, "save the log to a file"),
    ("Actions", "retry", "r", "r", "retry", 25, "run failed and cancelled jobs again"),
    ("Actions", "pause", "p", "p", "pause", 25, "pause the schedule, or let it go on"),
    ("Actions", "drain", "D", "D", "drain", 25, "let the worker finish what it runs, and leave"),
    ("Actions", "raise_priority", "plus", "+", "sooner", 26,
     "the waiting job's priority up by one"),
    ("Actions", "lower_priority", "underscore", "_", "later", 27,
     "the waiting job's priority down by one"),
    ("Actions", "cancel", "ctrl+k", "ctrl+k", "cancel", 28, "end it now"),
    ("Actions", "trigger", "ctrl+t", "ctrl+t", "trigger", 26, "start a run of the schedule now"),
    ("Actions", "backfill", "B", "B", "backfill", 27,
     "start runs for times of the last day that have none"),
)
# fmt: on

COMMANDS: Final = {
    name: Command(
        group=group,
        id=name,
        keys=keys,
        shown=shown,
        word=word,
        tip=tip,
        writes=group == "Actions",
        priority=place,
    )
    for group, name, keys, shown, word, place, tip in _ROWS
}
EVERYWHERE: Final = tuple(name for name, each in COMMANDS.items() if each.group == "Everywhere")
TABLES: Final = tuple(name for name, each in COMMANDS.items() if each.group == "Tables")
LOGS: Final = tuple(name for name, each in COMMANDS.items() if each.group == "Logs")
WRITES: Final = frozenset(name for name, each in COMMANDS.items() if each.writes)
VIEWS: Final = {
    "overview": "Overview",
    "partitions": "Partitions",
    "slow": "Slow tasks",
    "runs": "Runs",
    "workers": "Workers",
    "schedules": "Schedules",
}
