"""Owns the command `tpworker`: its flags, its log on stderr, its exit codes."""

import logging
import os
import socket
import sys
from pathlib import Path
from typing import Annotated

import structlog
import typer

from control.model import limits
from control.model.config import LogLevel
from control.model.display_text import clean
from control.model.errors import ConfigError
from control.model.kinds import installed_kinds
from control.model.log_text import escape_values
from control.model.worker.isolation import IsolationMode
from workers.app import run_worker
from workers.config import Flags, load_config
from workers.gateway_connection import NotWelcome

EXIT_USAGE = 2
EXIT_NOT_ALLOWED = 3
EXIT_INTERRUPTED = 130

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


Urls = Annotated[
    list[str] | None,
    typer.Option(help="A worker gateway, ws://HOST:8701. Several are tried in turn."),
]
Slots = Annotated[
    int | None,
    typer.Option(min=1, max=limits.SLOTS_MAX, help="Jobs at a time. Default: the cores."),
]
Labels = Annotated[list[str] | None, typer.Option(help="What jobs can ask for. May be repeated.")]
Kinds = Annotated[list[str] | None, typer.Option(help="A kind to execute. Default: all installed.")]
Name = Annotated[
    str | None, typer.Option(help="The worker's name. Default: the host's, numbered if taken.")
]
DataDir = Annotated[
    Path | None,
    # It may well be closed to this user: the worker of another user hides it from jobs only.
    typer.Option(
        readable=False, help="The control plane's data directory, with credentials.toml in it."
    ),
]
StateDir = Annotated[
    Path | None,
    typer.Option(
        readable=False,
        help="Where unsent results are kept. Default: in the user's XDG_STATE_HOME.",
    ),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option(help="A TOML file with settings, connections, targets. Also TP_WORKER_CONFIG."),
]
Credentials = Annotated[
    Path | None,
    typer.Option(help="A file like credentials.toml; - reads it from standard input."),
]
Isolated = Annotated[
    IsolationMode | None,
    typer.Option(help="auto: what the kernel has; required: or no start; none. Default: auto."),
]
Hide = Annotated[
    list[Path] | None, typer.Option(help="A path that no job may see. May be repeated.")
]
Parent = Annotated[
    int | None, typer.Option(min=1, hidden=True, help="End when this process, our parent, ends.")
]
Level = Annotated[LogLevel, typer.Option(help="On stderr.")]


@app.command()
def tpworker(
    *,
    url: Urls = None,
    slots: Slots = None,
    label: Labels = None,
    kind: Kinds = None,
    name: Name = None,
    data_dir: DataDir = None,
    state_dir: StateDir = None,
    config: ConfigFile = None,
    credentials: Credentials = None,
    isolation: Isolated = None,
    hide: Hide = None,
    parent: Parent = None,
    log_level: Level = LogLevel.INFO,
) -> None:
    """Execute jobs for a control plane.

    The credentials are those of a client with role worker or admin: --credentials, or else
    TP_CLIENT_ID and TP_CLIENT_SECRET, or else what credentials.toml in the data directory holds.
    SIGTERM and Ctrl-C drain: running jobs finish, waiting ones are handed back. A second one kills.
    """
    _log_to_stderr(log_level)
    flags = Flags(
        urls=url or (),
        slots=slots,
        labels=label or (),
        kinds=kind or (),
        name=name,
        data_dir=data_dir,
        state_dir=state_dir,
        config=config,
        credentials=credentials,
        isolation=isolation,
        hide=hide or (),
        parent=parent,
    )
    try:
        settings = load_config(flags, os.environ, socket.gethostname())
        drained = run_worker(settings, installed_kinds())
    except ConfigError as error:
        typer.echo(f"tpworker: {clean(str(error))}", err=True)
        raise typer.Exit(EXIT_USAGE) from error
    except NotWelcome as error:
        typer.echo(f"tpworker: {clean(str(error))}", err=True)
        raise typer.Exit(EXIT_NOT_ALLOWED) from error
    raise typer.Exit(0 if drained else EXIT_INTERRUPTED)


def _log_to_stderr(level: LogLevel) -> None:
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            escape_values,
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty() and not os.getenv("NO_COLOR"),
                # Not the pretty one, which shows the values of variables: params are secrets.
                exception_formatter=structlog.dev.plain_traceback,
            ),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def main() -> None:
    """Run the command."""
    app()
