"""Owns the command `tpctl simulate`: what if there were other workers, or another split?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from control.cli.command_context import CommandContext, command
from control.cli.commands.stats import Window
from control.cli.errors import Unreachable
from control.model import limits
from control.model.errors import (
    ConfigError,
    Forbidden,
    NotFound,
    Unauthenticated,
    Unavailable,
)

if TYPE_CHECKING:
    from control.core.simulation.what_if import Setup

LATE_S: Final = 60.0

FactsFile = Annotated[
    Path | None,
    typer.Option(
        "--file",
        metavar="FILE",
        help="Facts that `tpctl stats export` has written (.parquet, .csv, .json); with it there "
        "need be no server: --workers and --slots say what there is.",
    ),
]
Workers = Annotated[int | None, typer.Option(min=1, max=limits.SLOTS_MAX, help="How many.")]
Slots = Annotated[int | None, typer.Option(min=1, max=limits.SLOTS_MAX, help="Of each worker.")]
Partitions = Annotated[int | None, typer.Option(min=1, max=limits.PARTITIONS_MAX, help="How many.")]
Slow = Annotated[
    str | None, typer.Option(metavar="PERCENT|auto", help="Of the partitions, for slow jobs.")
]
SlowThreshold = Annotated[
    str | None, typer.Option(metavar="SECONDS|auto", help="From which on a job is slow.")
]
Lend = Annotated[
    bool | None, typer.Option("--lend/--no-lend", help="A class takes the other's free slots.")
]
Late = Annotated[float, typer.Option(min=0, help="Seconds a job may wait until it is late.")]


def add_to(app: typer.Typer) -> None:
    """Register it."""
    command(app, "simulate", example="tpctl simulate --window 24h --workers 6 --slow auto")(
        simulate
    )


def simulate(
    session: CommandContext,
    *,
    window: Window = "24h",
    file: FactsFile = None,
    workers: Workers = None,
    slots: Slots = None,
    partitions: Partitions = None,
    slow: Slow = None,
    slow_threshold: SlowThreshold = None,
    lend: Lend = None,
    late: Late = LATE_S,
) -> None:
    """Play recorded arrivals again, in virtual time: as it is now, and with other numbers.

    The jobs are those that became ready in the window; the balancer's own rules place them on
    the workers that are connected now, and on what the options say. Nothing is changed.
    """
    # All that is needed to play takes a while to load; other commands need not wait for it.
    from control.cli.commands import forecast, history  # noqa: PLC0415
    from control.core.reports.time_window import window_ms  # noqa: PLC0415
    from control.core.simulation.replay_history import played_jobs  # noqa: PLC0415
    from control.core.simulation.what_if import Overrides  # noqa: PLC0415

    length_ms = window_ms(window)
    changes = Overrides(
        workers=workers,
        slots=slots,
        partitions=partitions,
        slow=None if slow is None else forecast.share(forecast.parse_slow(slow)),
        slow_threshold=None if slow_threshold is None else forecast.parse_threshold(slow_threshold),
        lend=lend,
    )
    past = history.download(session, length_ms) if file is None else history.read(file, length_ms)
    jobs = played_jobs(past)
    if not jobs:
        session.out.say(f"there is nothing to play: no job became ready in {window} that ran")
        if not session.out.is_table:
            session.out.document({"jobs": 0, "now": None, "what_if": None})
        return
    now = _present(session, offline=file is not None)
    if not now.farm.slots:
        now = forecast.with_farm(now, changes)
    comparison = forecast.forecast(session, jobs, now, changes, late_s=late)
    if session.out.is_table:
        forecast.show(session, comparison)
    else:
        session.out.document(forecast.document(comparison))


def _present(session: CommandContext, *, offline: bool) -> "Setup":
    """The system as it is; with a file there need be none."""
    from control.cli.commands import forecast  # noqa: PLC0415

    try:
        return forecast.present(session)
    except (ConfigError, Unauthenticated, Forbidden, NotFound, Unavailable, Unreachable) as error:
        if not offline:
            raise
        session.out.say(f"without what the server has now: {error}")
        return forecast.nothing()
