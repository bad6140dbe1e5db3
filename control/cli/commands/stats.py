"""Owns the commands `tpctl stats …`."""

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from control.cli.command_context import CommandContext, command, group
from control.cli.errors import UsageError
from control.cli.output import columns
from control.cli.output.formats import Format, OutputColumn, Row
from control.cli.output.row_filter import Wanted, filtered
from control.model import limits
from control.model.api.reports import Cell, PipelineStats, TaskStats

Window = Annotated[str, typer.Option(help="How far to look back: 15m, 24h, 7d.")]
Limit = Annotated[int, typer.Option(min=1, max=limits.REPORT_ROWS_MAX, help="How many rows.")]
_DAY = "24h"


class ExportFormat(StrEnum):
    """What facts can be exported as."""

    PARQUET = "parquet"
    CSV = "csv"
    JSON = "json"


class _Result(msgspec.Struct, frozen=True, kw_only=True):
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    truncated: bool = False


def add_to(app: typer.Typer) -> None:
    """Register them."""
    stats = group("stats", "What ended, and how long it took.", app)
    command(stats, "summary", example="tpctl stats summary --window 7d")(summary)
    command(stats, "pipelines", example="tpctl stats pipelines --window 24h --limit 20")(pipelines)
    command(stats, "slow", example="tpctl stats slow --limit 10")(slow)
    command(stats, "export", example="tpctl stats export --to facts.parquet")(export)
    command(
        stats, "sql", example="tpctl stats sql 'SELECT kind, count(*) FROM facts GROUP BY kind'"
    )(sql)


def summary(session: CommandContext, window: Window = _DAY) -> None:
    """Show all that ended in a window of time."""
    response = session.api.get("/v1/stats/summary", window=window)
    if not session.out.is_table:
        session.out.document(response)
        return
    session.out.details(response, columns.SUMMARY, "window")
    session.out.write("")
    classes = response.get("classes")
    rows: list[Row] = (
        [each for each in classes or () if isinstance(each, dict)]
        if isinstance(classes, list)
        else []
    )
    session.out.list([*rows, {**response, "class": "all"}], columns.SPREADS, "class")


def pipelines(
    session: CommandContext, window: Window = _DAY, limit: Limit = 100, wanted: Wanted = None
) -> None:
    """Show what ended by pipeline, the one with the most jobs first."""
    items = session.api.items("/v1/stats/pipelines", limit=_asked(limit, wanted), window=window)
    shown = columns.PIPELINE_STATS
    rows = filtered(session.out, items, shown, PipelineStats, wanted, limit=limit)
    session.out.list(rows, columns.PIPELINE_STATS, "pipeline", empty="nothing has ended")


def slow(
    session: CommandContext, window: Window = _DAY, limit: Limit = 20, wanted: Wanted = None
) -> None:
    """Show which jobs the workers' time goes to."""
    items = session.api.items("/v1/stats/slow-tasks", limit=_asked(limit, wanted), window=window)
    rows = filtered(session.out, items, columns.SLOW_TASKS, TaskStats, wanted, limit=limit)
    session.out.list(rows, columns.SLOW_TASKS, "pipeline/job", empty="nothing has ended")


def _asked(limit: int, wanted: str | None) -> int:
    """How many rows to ask for: `--limit` is of those that the filter keeps."""
    return limit if wanted is None else limits.REPORT_ROWS_MAX


def export(
    session: CommandContext,
    to: Annotated[str, typer.Option("--to", metavar="FILE", help="Where to; - is stdout.")],
    wanted: Annotated[
        ExportFormat | None, typer.Option("--format", help="Default: by the file's name.")
    ] = None,
) -> None:
    """Write all facts, one for each attempt that ended, to a file."""
    form = wanted or _format_of(to)
    query = {"format": form.value}
    with session.api.stream("/v1/stats/export", query, media="*/*") as pieces:
        if to == "-":
            for piece in pieces:
                sys.stdout.buffer.write(piece)
            return
        # What breaks off halfway must not look like an export.
        target = Path(to)
        part = target.with_name(f"{target.name}.part")
        try:
            with part.open("wb") as file:
                for piece in pieces:
                    file.write(piece)
            part.replace(target)
        except OSError as error:
            message = f"cannot write {to}: {error.strerror}"
            raise UsageError(message) from error
        finally:
            part.unlink(missing_ok=True)
    session.out.say(f"wrote {to}: {os.path.getsize(to)} bytes of {form}")


def sql(
    session: CommandContext,
    query: Annotated[
        str, typer.Argument(metavar="SQL", help="A query for DuckDB over the table facts.")
    ],
    limit: Annotated[
        int, typer.Option(min=1, max=limits.QUERY_ROWS_MAX, help="How many rows.")
    ] = limits.REPORT_ROWS_MAX,
) -> None:
    """Ask the statistics a question of your own."""
    response = session.api.post("/v1/stats/sql", {"sql": query, "limit": limit})
    out = session.out
    if out.format in {Format.JSON, Format.YAML}:
        out.document(response)
        return
    result = msgspec.convert(response, _Result)
    # Names of columns may repeat, and may have dots in them.
    rows: list[Row] = [{str(at): value for at, value in enumerate(row)} for row in result.rows]
    if out.format == Format.JSONL:
        for row in result.rows:
            out.document(dict(zip(result.columns, row, strict=True)))
        return
    shown = [OutputColumn(name, str(at)) for at, name in enumerate(result.columns)]
    out.list(rows, shown, "0")
    if result.truncated:
        out.say(f"there are more than {limit} rows: --limit shows more")


def _format_of(name: str) -> ExportFormat:
    suffix = Path(name).suffix.lstrip(".").lower()
    try:
        return ExportFormat(suffix)
    except ValueError as error:
        known = ", ".join(ExportFormat)
        message = f"{name} does not tell the format; give --format, one of {known}"
        raise UsageError(message) from error
