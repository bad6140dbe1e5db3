"""Owns what every command shares: the options for server and output, the way errors end it.

A command is a function whose first parameter is a `CommandContext`; `command` registers it with
Typer.
"""

import functools
import inspect
import os
import sys
import termios
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Concatenate, Final, ParamSpec
from urllib.parse import quote

import msgspec
import typer

from control.cli.credentials import Login, load_login
from control.cli.errors import ExitCode, ServerFailed, UsageError, exit_code, in_words
from control.cli.output.formats import Format, Output
from control.model.display_text import clean
from control.model.errors import TaskplaneError

if TYPE_CHECKING:  # httpx takes 150 ms, which `--help` need not wait for.
    from control.cli.client import Client

P = ParamSpec("P")
_PANEL: Final = "Server and output"

Url = Annotated[
    str | None,
    typer.Option(
        help="The control plane. Default: TP_URL, then credentials.toml.", rich_help_panel=_PANEL
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        help="Where credentials.toml is. Default: TP_DATA_DIR, then the user's data directory.",
        rich_help_panel=_PANEL,
    ),
]
OutputFormat = Annotated[
    Format | None,
    typer.Option("--output", "-o", help="How data is written.", rich_help_panel=_PANEL),
]


class CommandEnvironment(msgspec.Struct, frozen=True, kw_only=True):
    """What a program starts with: clocks, the environment, and the options before the command."""

    now_s: Callable[[], float]
    environ: Mapping[str, str]
    url: str | None = None
    data_dir: Path | None = None
    output: Format | None = None


class CommandContext:
    """One command being carried out."""

    def __init__(self, world: CommandEnvironment) -> None:
        self.world = world
        colour = not world.environ.get("NO_COLOR")
        self.out = Output(world.output, self.now_ms, colour=colour)
        self._client: Client | None = None

    def now_ms(self) -> int:
        """The time here."""
        return int(self.world.now_s() * 1000)

    @functools.cached_property
    def login(self) -> Login:
        """Which server, and as which client; raises `ConfigError`."""
        world = self.world
        return load_login(url=world.url, data_dir=world.data_dir, environ=world.environ)

    @property
    def api(self) -> "Client":
        """The server."""
        if self._client is None:
            from control.cli.client import Client  # noqa: PLC0415 - see above.

            self._client = Client(self.login)
        return self._client

    def close(self) -> None:
        """Hang up."""
        if self._client is not None:
            self._client.close()

    @property
    def attended(self) -> bool:
        """Whether a person at a terminal can answer."""
        return sys.stdin.isatty() and sys.stderr.isatty()

    def require_answer(self, *, yes: bool) -> None:
        """Raise `UsageError` when a question could not be answered, before anything is done."""
        if not yes and not self.attended:
            message = "this asks before it changes anything, and no terminal can answer: add --yes"
            raise UsageError(message)

    def confirm(self, question: str, *, yes: bool) -> None:
        """Ask before something is lost; raises `UsageError` where no terminal can answer."""
        self.require_answer(yes=yes)
        if yes:
            return
        # What was typed before the question was there is no answer to it.
        termios.tcflush(sys.stdin, termios.TCIFLUSH)
        if not typer.confirm(clean(question), err=True):
            self.out.say("nothing was done")
            raise typer.Exit(ExitCode.INTERRUPTED)


def place(*parts: str | int) -> str:
    """A path of the API; parts are names of the user's. Raises `UsageError`."""
    for part in parts:
        if part in {"", ".", ".."}:
            message = f"{part!r} is no name of anything"
            raise UsageError(message)
    return "/v1/" + "/".join(quote(str(part), safe="") for part in parts)


def group(name: str, summary: str, parent: typer.Typer) -> typer.Typer:
    """A group of commands."""
    made = typer.Typer(no_args_is_help=True, help=summary, pretty_exceptions_enable=False)
    parent.add_typer(made, name=name)
    return made


def command(
    parent: typer.Typer, name: str, *, example: str
) -> Callable[
    [Callable[Concatenate[CommandContext, P], None]], Callable[Concatenate[CommandContext, P], None]
]:
    """Register a command; its options are its own and those that all have."""

    def register(
        function: Callable[Concatenate[CommandContext, P], None],
    ) -> Callable[Concatenate[CommandContext, P], None]:
        own = list(inspect.signature(function).parameters.values())[1:]
        context = inspect.Parameter(
            "context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context
        )
        shared = [
            inspect.Parameter(
                option, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation
            )
            for option, annotation in (
                ("url", Url),
                ("data_dir", DataDir),
                ("output", OutputFormat),
            )
        ]
        parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]

        def called(
            *,
            context: typer.Context,
            url: str | None,
            data_dir: Path | None,
            output: Format | None,
            **arguments: object,
        ) -> None:
            before: CommandEnvironment = context.obj
            world = msgspec.structs.replace(
                before,
                url=url or before.url,
                data_dir=data_dir or before.data_dir,
                output=output or before.output,
            )
            carry_out(world, lambda session: function(session, **arguments))  # type: ignore[arg-type,call-arg]

        called.__signature__ = inspect.Signature([context, *parameters, *shared])  # type: ignore[attr-defined]
        called.__annotations__ = {
            parameter.name: parameter.annotation for parameter in (context, *parameters, *shared)
        }
        parent.command(name, help=paragraphs(function.__doc__ or ""), epilog=f"Example: {example}")(
            called
        )
        return function

    return register


def paragraphs(text: str) -> str:
    """Help without the line breaks of the source."""
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def carry_out(world: CommandEnvironment, work: Callable[[CommandContext], None]) -> None:
    """Do it; every way it can end becomes an exit code."""
    session = CommandContext(world)
    try:
        work(session)
        sys.stdout.flush()
    except TaskplaneError as error:
        report(error)
        raise typer.Exit(exit_code(error)) from error
    except msgspec.ValidationError as error:
        # Only a server's answers are converted without a closer look.
        report(ServerFailed(f"the server's answer has another shape than expected: {error}"))
        raise typer.Exit(ExitCode.SERVER) from error
    except (KeyboardInterrupt, typer.Abort) as error:
        raise typer.Exit(ExitCode.INTERRUPTED) from error
    except BrokenPipeError as error:
        # The reader has seen enough. Python would complain when it flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(ExitCode.OK) from error
    finally:
        session.close()


def report(error: TaskplaneError, source: str = "") -> None:
    """Say on stderr what went wrong."""
    first, *more = (clean(line) for line in in_words(error))
    typer.echo(f"tpctl: {clean(source)}{': ' if source else ''}{first}", err=True)
    for line in more:
        typer.echo(line, err=True)
