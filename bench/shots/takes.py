"""Owns the list of pictures: every screen, and every state that the console can be in."""

from typing import Final

from bench.shots.camera import SMALL, Take, typed

_VIEWS: Final = ("overview", "partitions", "slow", "runs", "workers", "schedules")
_FURTHER: Final = {
    "partitions": ("tab", "down"),
    "workers": ("colon", *typed("worker w-45"), "enter"),
    "schedules": ("down",) * 4,
}
_RUN: Final = ("colon", *typed("run 90412"), "enter")
_JOB: Final = ("colon", *typed("job 81301"), "enter")
_WRITES: Final = ("colon", *typed("rw"), "enter")
_OTHER: Final = ("empty", "loading", "stale", "refused", "old")


def _screens() -> list[Take]:
    return [
        *(
            Take(name=name, keys=(str(place), *_FURTHER.get(name, ())))
            for place, name in enumerate(_VIEWS, 1)
        ),
        Take(name="run", keys=_JOB),
        Take(name="run-explain", keys=(*_JOB, *"ttt")),
        Take(name="run-attempts", keys=(*_JOB, *"tttt")),
        Take(name="run-tree", keys=(*_RUN, "v")),
        Take(name="help", keys=("question_mark",)),
        Take(name="describe", keys=("4", "d")),
        Take(name="explain", keys=(*_JOB, "x")),
        Take(name="messages", keys=(*_WRITES, "y", "colon", *typed("messages"), "enter")),
        Take(name="palette", keys=("ctrl+p",)),
        Take(name="palette-typed", keys=("ctrl+p", *typed("deploy"))),
        Take(name="sort", keys=("3", "o")),
        Take(name="confirm", keys=("4", *_WRITES, "down", "ctrl+k")),
        Take(
            name="confirm-many",
            keys=("4", *_WRITES, "space", "down", "space", "down", "space", "ctrl+k"),
        ),
        Take(name="filter", keys=("4", "slash", *typed("client:acme state:done"))),
        Take(name="filtered", keys=("4", "slash", *typed("client:acme !thumbs"), "enter")),
        Take(name="filter-none", keys=("4", "slash", *typed("nobody"), "enter")),
        Take(name="command", keys=("colon", *typed("runs thu"))),
        Take(name="command-unknown", keys=("colon", *typed("frobnicate"), "enter")),
        Take(name="faults", keys=("4", "e")),
        Take(name="zoomed", keys=("6", "tab", "z")),
        Take(name="frozen", keys=("f",)),
    ]


def _states() -> list[Take]:
    found = [Take(name=f"overview-{kind}", kind=kind) for kind in _OTHER]
    for place, name in enumerate(_VIEWS, 1):
        if name != "overview":
            found.append(Take(name=f"{name}-empty", kind="empty", keys=(str(place),)))
    return [
        *found,
        Take(name="workers-stale", kind="stale", keys=("5",)),
        Take(name="runs-loading", kind="loading", keys=("4",)),
        *(
            Take(name=f"{name}-small", keys=(str(place),), size=SMALL)
            for place, name in enumerate(_VIEWS, 1)
        ),
        Take(name="run-small", keys=_JOB, size=SMALL),
        Take(name="tiny", size=(60, 16)),
        Take(name="overview-huge", size=(220, 60)),
        Take(name="overview-plain", no_colour=True),
        Take(name="run-plain", keys=_JOB, no_colour=True),
        Take(name="overview-ansi", theme="ansi-dark"),
        Take(name="runs-ansi", keys=("4",), theme="ansi-dark"),
        Take(name="overview-light", theme="taskplane-light"),
        Take(name="runs-light", keys=("4",), theme="taskplane-light"),
    ]


TAKES: Final = {take.name: take for take in (*_screens(), *_states())}
SHOWN: Final = ("overview", "partitions", "slow", "runs", "run", "workers", "schedules", "help")
"""Pictures of the docs."""
COMPARED: Final = (
    *SHOWN,
    *("explain", "confirm-many", "filtered", "overview-empty", "overview-stale"),
    *("overview-refused", "overview-small"),
)
"""Those whose text is kept, and compared by a test."""
