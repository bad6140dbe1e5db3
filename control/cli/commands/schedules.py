"""Owns the commands `tpctl schedule …`."""

from typing import TYPE_CHECKING, Annotated

import typer

from control.cli.command_context import CommandContext, command, group, place
from control.cli.errors import UsageError
from control.cli.output import columns
from control.cli.output.row_filter import Wanted, filtered
from control.cli.times import duration_s, instant
from control.model import limits
from control.model.api.schedules import ScheduleView
from control.model.pipelines import ScheduleSpec
from control.model.times import from_rfc3339, to_rfc3339

if TYPE_CHECKING:
    from control.cli.client import Row

ScheduleId = Annotated[int, typer.Argument(metavar="SCHEDULE", min=1, help="The schedule's id.")]
_PREVIEW_S = 366 * 86_400


def add_to(app: typer.Typer) -> None:
    """Register them."""
    schedule = group("schedule", "When runs start by themselves.", app)
    command(schedule, "list", example="tpctl schedule list --pipeline nightly-report")(
        list_schedules
    )
    command(
        schedule,
        "preview",
        example="tpctl schedule preview --cron '0 9 * * MON-FRI' --timezone Europe/Paris",
    )(preview)
    command(schedule, "pause", example="tpctl schedule pause 7")(pause)
    command(schedule, "resume", example="tpctl schedule resume 7")(resume)
    command(schedule, "trigger", example="tpctl schedule trigger 7")(trigger)
    command(
        schedule,
        "backfill",
        example="tpctl schedule backfill 7 --from 2026-11-01T00:00:00Z --to 2026-11-02T00:00:00Z",
    )(backfill)


def list_schedules(
    session: CommandContext,
    pipeline: Annotated[str | None, typer.Option(help="Only of this pipeline.")] = None,
    wanted: Wanted = None,
) -> None:
    """List schedules."""
    items = session.api.items("/v1/schedules", pipeline=pipeline)
    rows = filtered(session.out, items, columns.SCHEDULES, ScheduleView, wanted)
    session.out.list(rows, columns.SCHEDULES, "id", empty="there are no schedules")


def preview(
    session: CommandContext,
    *,
    schedule: Annotated[
        int | None, typer.Argument(metavar="SCHEDULE", help="Only of this schedule.")
    ] = None,
    cron: Annotated[
        str | None, typer.Option(help="Needs no server: when this would fire, for a year.")
    ] = None,
    timezone: Annotated[str, typer.Option(help="Of --cron; an IANA name.")] = "UTC",
    until: Annotated[
        str | None, typer.Option(help="How far ahead: 6h, 2d, or 2026-11-22T09:30:00Z.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=limits.PAGE_MAX, help="How many.")] = 20,
) -> None:
    """Show what is planned for the next 48 hours, or when a cron expression would fire."""
    until_at = _ahead(until, session.now_ms())
    if cron is not None:
        if schedule is not None:
            message = "give a schedule's id or --cron, not both"
            raise UsageError(message)
        rows = _fire_times(session, cron, timezone, until_at, limit)
        session.out.list(rows, columns.TIMES, "nominal", empty="it does not fire in that time")
        return
    if schedule is None:
        planned = session.api.items("/v1/scheduled-runs", limit=limit, until=until_at)
        session.out.list(planned, columns.PLANNED, "nominal", empty="nothing is planned")
        return
    every = session.api.items("/v1/scheduled-runs", until=until_at)
    own: list[Row] = []
    for row in every:
        if row.get("schedule_id") == schedule:
            own.append(row)
        if len(own) == limit:
            break
    session.out.list(own, columns.PLANNED, "nominal", empty="nothing is planned")


def pause(session: CommandContext, schedule: ScheduleId) -> None:
    """Let a schedule start nothing until it is resumed."""
    response = session.api.post(place("schedules", schedule, "pause"))
    session.out.one(response, columns.SCHEDULES, "id")
    if response.get("dropped"):
        session.out.say(f"{response.get('dropped')} runs that waited will not start")


def resume(session: CommandContext, schedule: ScheduleId) -> None:
    """Let a paused schedule go on; what was due meanwhile is not made up for."""
    response = session.api.post(place("schedules", schedule, "resume"))
    session.out.one(response, columns.SCHEDULES, "id")


def trigger(session: CommandContext, schedule: ScheduleId) -> None:
    """Start a run of a schedule now, with its input, beside those that are planned."""
    response = session.api.post(place("schedules", schedule, "trigger"))
    session.out.one(response, columns.RUNS, "id")
    if session.out.is_table:
        session.out.say(f"to see how it goes: tpctl run watch {response.get('id')}")


def backfill(
    session: CommandContext,
    schedule: ScheduleId,
    start: Annotated[
        str, typer.Option("--from", help="7d (ago), or an RFC 3339 time; it counts itself.")
    ],
    to: Annotated[
        str, typer.Option("--to", "--until", help="The end: now, 1h (ago), or an RFC 3339 time.")
    ],
) -> None:
    """Start runs for the nominal times of a stretch of the past that have none."""
    now_ms = session.now_ms()
    body = {"from": instant(start, now_ms), "until": instant(to, now_ms)}
    response = session.api.post(place("schedules", schedule, "backfill"), body)
    if session.out.is_table:
        planned, times = response.get("planned"), response.get("found")
        rest = "" if planned == times else "; the others have their runs already"
        session.out.write(f"{planned} runs planned of {times} times{rest}")
    else:
        session.out.document(response)


def _ahead(text: str | None, now_ms: int) -> str | None:
    """An instant, or how far ahead it is."""
    if text is None or "T" in text.upper():
        return instant(text, now_ms)
    return to_rfc3339(now_ms + int((duration_s(text) or 0) * 1000))


def _fire_times(
    session: CommandContext, cron: str, timezone: str, until: str | None, limit: int
) -> "list[Row]":
    from control.cli.commands import offline  # noqa: PLC0415 - it loads cron and YAML.

    now_ms = session.now_ms()
    until_ms = now_ms + _PREVIEW_S * 1000 if until is None else from_rfc3339(until)
    spec = ScheduleSpec(cron=cron, timezone=timezone)
    times = offline.fire_times(spec, after_ms=now_ms, until_ms=until_ms, limit=limit)
    return [
        {"nominal": to_rfc3339(at_ms), "local": offline.local_time(at_ms, timezone)}
        for at_ms in times
    ]
