"""Owns the commands `tpctl worker …` and `tpctl partition …`."""

from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from control.cli.command_context import CommandContext, command, group, place
from control.cli.commands import simulate
from control.cli.commands.pipelines import Yes
from control.cli.output import columns
from control.cli.output.formats import Row
from control.cli.output.row_filter import Wanted, filtered
from control.model.api.fleet import PartitionView, WorkerView
from control.model.errors import NotFound, Unavailable

if TYPE_CHECKING:
    from control.core.simulation.what_if import Comparison

_SPLIT: Final = "/v1/partitions/split"
_DAY_MS: Final = 86_400_000


def add_to(app: typer.Typer) -> None:
    """Register them."""
    worker = group("worker", "Who executes jobs.", app)
    command(worker, "list", example="tpctl worker list -o json")(list_workers)
    command(worker, "drain", example="tpctl worker drain runner-1")(drain)
    partition = group("partition", "The lanes jobs wait in.", app)
    command(partition, "list", example="tpctl partition list")(list_partitions)
    command(partition, "split", example="tpctl partition split --slow 60")(split)


def list_workers(session: CommandContext, wanted: Wanted = None) -> None:
    """List workers, and those lost in the last ten minutes."""
    items = session.api.items("/v1/workers")
    rows = filtered(session.out, items, columns.WORKERS, WorkerView, wanted)
    session.out.list(rows, columns.WORKERS, "id", empty="no worker is connected")


def drain(
    session: CommandContext, worker: Annotated[str, typer.Argument(help="The worker's name.")]
) -> None:
    """Let a worker finish what it runs and leave."""
    response = session.api.post(place("workers", worker, "drain"))
    if session.out.is_table:
        session.out.write_safely(f"{worker}: draining")
    else:
        session.out.one(response, columns.WORKERS, "id")


def list_partitions(session: CommandContext, wanted: Wanted = None) -> None:
    """List partitions with their load."""
    items = session.api.items("/v1/partitions")
    rows = filtered(session.out, items, columns.PARTITIONS, PartitionView, wanted)
    session.out.list(rows, columns.PARTITIONS, "partition", empty="there are no partitions here")


def split(
    session: CommandContext,
    slow: Annotated[
        str | None,
        typer.Option(
            metavar="PERCENT|auto", help="Of the partitions, for slow jobs; auto follows the mix."
        ),
    ] = None,
    yes: Yes = False,
) -> None:
    """Show how the partitions are divided, and by which rules jobs are placed.

    With --slow they are divided again, after a forecast of what comes of it: the jobs of the last
    24 hours, played as it is now and with the new split.
    """
    if slow is None:
        _show_rules(session)
        return
    from control.cli.commands import forecast  # noqa: PLC0415 - It loads all that plays jobs.

    wanted = forecast.parse_slow(slow)
    session.require_answer(yes=yes)
    predicted = _predict(session, wanted)
    if predicted is not None and session.out.is_table:
        forecast.show(session, predicted)
    shown = "as the mix says" if wanted == "auto" else f"{wanted:g} % of them for slow jobs"
    session.confirm(f"Divide the partitions anew, {shown}?", yes=yes)
    changed = session.api.put(_SPLIT, {"slow": wanted})
    if session.out.is_table:
        session.out.write(f"partitions: {shown}")
    else:
        document = None if predicted is None else forecast.document(predicted)
        session.out.document({**changed, "forecast": document})


def _predict(session: CommandContext, slow: float | Literal["auto"]) -> "Comparison | None":
    from control.cli.commands import forecast, history  # noqa: PLC0415
    from control.core.simulation.replay_history import played_jobs  # noqa: PLC0415
    from control.core.simulation.what_if import Overrides  # noqa: PLC0415

    try:
        now = forecast.present(session)
        if not now.farm.slots:
            session.out.say("no forecast: no worker is connected")
            return None
        jobs = played_jobs(history.download(session, _DAY_MS))
    except (NotFound, Unavailable) as error:  # No balancer, or no statistics.
        session.out.say(f"no forecast: {error}")
        return None
    if not jobs:
        session.out.say("no forecast: no job has run in the last 24 h")
        return None
    changes = Overrides(slow=forecast.share(slow))
    return forecast.forecast(session, jobs, now, changes, late_s=simulate.LATE_S)


def _show_rules(session: CommandContext) -> None:
    rules, out = session.api.get(_SPLIT), session.out
    if not out.is_table:
        out.document(rules)
        return
    out.details(rules, columns.RULES, "slow")
    for title, name, shown in (
        ("stragglers", "stragglers", columns.STRAGGLERS),
        ("last changes of class", "changes", columns.CLASS_CHANGES),
    ):
        listed = rules.get(name)
        rows: list[Row] = (
            [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
        )
        if rows:
            out.write(f"\n{title}:")
            out.list(rows, shown, "pipeline")
