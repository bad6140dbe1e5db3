"""Owns the command `tpctl tui`: the operator's console. Textual is imported only when it starts."""

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from control.cli.command_context import CommandContext, command
from control.cli.console import browser
from control.cli.errors import UsageError
from control.model.errors import ConfigError

Named = Annotated[
    str | None,
    typer.Option("--context", help="A control plane of contexts.toml, instead of --url."),
]
Theme = Annotated[
    str | None, typer.Option(help="Colours: taskplane-dark, taskplane-light, ansi-dark, nord, …")
]
Record = Annotated[
    Path | None, typer.Option(help="Write all that comes from the server to this file.")
]
Replay = Annotated[Path | None, typer.Option(help="Show a recording instead of a server.")]
Speed = Annotated[float, typer.Option(min=0.1, max=100.0, help="Of a replay.")]
Serve = Annotated[bool, typer.Option(help="Show it in a browser, on this host only.")]
Port = Annotated[int, typer.Option(min=1, max=65535, help="For the browser.")]


def add_to(app: typer.Typer) -> None:
    """Register it."""
    command(app, "tui", example="tpctl tui --context prod")(tui)


def tui(
    session: CommandContext,
    *,
    named: Named = None,
    theme: Theme = None,
    record: Record = None,
    replay: Replay = None,
    speed: Speed = 1.0,
    serve: Serve = False,
    port: Port = 8702,
) -> None:
    """Watch and steer everything live, in a terminal.

    Read-only until `:rw` is typed; `?` shows the keys. Contexts come from contexts.toml in the
    user's configuration folder: a table for each, with url, client_id, and client_secret, or with
    data_dir; `guarded = true` shows its name in red.
    """
    if record is not None and replay is not None:
        message = "--record and --replay exclude each other"
        raise UsageError(message)
    if serve:
        browser.serve(sys.argv, port)
        return
    from control.cli.console import start  # noqa: PLC0415 - Textual takes a second.

    environ = session.world.environ
    try:
        if replay is not None:
            code = start.replay(replay, speed, theme=theme, environ=environ)
        else:
            targets = start.targets(session.login, environ)
            first = named or next(iter(targets))
            if first not in targets:
                message = f"there is no context {first}; there are: {', '.join(targets)}"
                raise UsageError(message)
            code = start.start(
                targets,
                first,
                version("taskplane"),
                theme=theme,
                record=record,
                environ=environ,
            )
    except start.ContextsInvalid as error:
        raise ConfigError(str(error)) from error
    if code:
        raise typer.Exit(code)
