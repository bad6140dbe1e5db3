"""Owns the command `tpctl`: its groups, and the options that may stand before a command."""

import os
import sys
import time
from importlib.metadata import version
from typing import Annotated

import typer

from control.cli.command_context import (
    CommandEnvironment,
    DataDir,
    OutputFormat,
    Url,
    paragraphs,
    report,
)
from control.cli.commands import (
    access,
    backups,
    bus,
    doctor,
    fleet,
    jobs,
    kinds,
    pipelines,
    runs,
    schedules,
    simulate,
    stats,
    up,
)
from control.cli.console import command as console
from control.cli.errors import OutputFailed, exit_code
from control.cli.output.standard_streams import prepare_streams

_SUMMARY = paragraphs(
    """Run pipelines of jobs: say what to run and when, and see how it goes.

    The server and the credentials come from --url and the environment (TP_URL, TP_CLIENT_ID,
    TP_CLIENT_SECRET), or else from credentials.toml, which `tpctl up` writes.

    Exit codes: 0 ok, 1 what was waited for ended badly, 2 usage or invalid file, 3 not allowed,
    4 not found or refused, 5 server error, 6 time-out while waiting, 7 cannot connect,
    130 interrupted."""
)

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help=_SUMMARY)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(version("taskplane"))
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    url: Url = None,
    data_dir: DataDir = None,
    output: OutputFormat = None,
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="And exit.")
    ] = False,
) -> None:
    """What may stand before a command may stand after it as well."""
    del show_version
    context.obj = CommandEnvironment(
        now_s=time.time, environ=os.environ, url=url, data_dir=data_dir, output=output
    )


pipelines.add_to(app)
jobs.add_to(app, runs.add_to(app))
for _commands in (
    schedules,
    fleet,
    stats,
    simulate,
    access,
    kinds,
    doctor,
    up,
    backups,
    bus,
    console,
):
    _commands.add_to(app)


def main() -> None:
    """Run the command."""
    prepare_streams()
    try:
        app(prog_name="tpctl")
    except OutputFailed as error:  # Where no command was reached: its help, the version.
        report(error)
        sys.exit(exit_code(error))
