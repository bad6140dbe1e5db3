"""Owns the commands `tpctl kind …`: how jobs can be executed, as installed here."""

from typing import Annotated

import msgspec
import typer

from control.cli.command_context import CommandContext, command, group
from control.cli.output import columns
from control.cli.output.formats import Format
from control.model.json_values import Json


def add_to(app: typer.Typer) -> None:
    """Register them."""
    kind = group("kind", "How jobs are executed. Needs no server: the kinds installed here.", app)
    command(kind, "list", example="tpctl kind list")(list_kinds)
    command(kind, "show", example="tpctl kind show Shell")(show)


def list_kinds(session: CommandContext) -> None:
    """List the kinds installed here."""
    from control.cli.commands import offline  # noqa: PLC0415 - it loads every kind.

    registry = offline.kinds()
    of_workers = registry.of_workers()
    rows: list[dict[str, Json]] = []
    for name in registry.names():
        versions = registry.versions(name)
        newest = registry.get(name, versions[-1])
        runs_on = "worker" if (name, newest.version) in of_workers else "control plane"
        rows.append(
            {
                "name": name,
                "versions": [*versions],
                "runs_on": runs_on,
                "summary": newest.summary,
            }
        )
    session.out.list(rows, columns.KINDS, "name")
    for each in registry.broken:
        session.out.say(f"tpctl: {each}")


def show(
    session: CommandContext,
    name: Annotated[str, typer.Argument(metavar="KIND", help="Such as Shell or HTTP.")],
    version: Annotated[str | None, typer.Option(help="Default: the newest.")] = None,
) -> None:
    """Show a kind's params; with -o json, their JSON schema too."""
    from control.cli.commands import offline  # noqa: PLC0415 - it loads every kind.

    kind = offline.find_kind(offline.kinds(), name, version)
    params, schema = offline.params_of(kind)
    out = session.out
    if out.format == Format.NAME:
        out.write(kind.name)
    elif out.is_table:
        out.write_safely(f"{kind.name} {kind.version}: {kind.summary}")
        out.write("")
        out.list(params, columns.PARAMS, "name", empty="it has no params")
    else:
        about = {"name": kind.name, "version": kind.version, "summary": kind.summary}
        out.document(msgspec.to_builtins({**about, "params": schema}))
