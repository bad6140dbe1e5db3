"""Puts together what the console starts with: contexts, and where its data comes from."""

import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from control.cli.credentials import Login
from control.cli.errors import UsageError
from control.model.errors import ConfigError
from tui.link import recording
from tui.link.contexts import ContextsInvalid, config_folder, contexts, keys, themes
from tui.link.recording import Recorder
from tui.link.replay import RecordingInvalid, Replay, RunningPace
from tui.link.server import ServerSource
from tui.link.source import ConsoleTarget, Source, apart
from tui.starting import ConsoleStart, now_ms
from tui.starting import start as start_console

__all__ = ["ContextsInvalid", "replay", "start", "targets"]


def targets(login: Login, environ: Mapping[str, str]) -> dict[str, ConsoleTarget]:
    """The control planes by name: the one of the command line first, then the user's contexts."""
    known = contexts(config_folder(environ))
    url, user, password = apart(login.url)
    here = ConsoleTarget(
        name="default",
        url=url,
        client_id=login.client_id or user,
        client_secret=login.client_secret or password,
        direct=login.is_local,
    )
    same = next((name for name, each in known.items() if each.url == here.url), None)
    return known if same is not None and login.client_id is None else {"default": here} | known


def start(
    known: Mapping[str, ConsoleTarget],
    first: str,
    version: str,
    *,
    theme: str | None,
    record: Path | None,
    environ: Mapping[str, str],
) -> int:
    """Run it; the exit code. A recording is of one control plane, so there is only that one then.

    Raises `ConfigError` where there can be no recording.
    """
    how = ConsoleStart(
        targets=known,
        first=first,
        opened=lambda target: ServerSource(target, version),
        now_ms=now_ms,
        theme=theme,
        themes=themes(config_folder(environ)),
        keys=keys(config_folder(environ)),
    )
    if record is None:
        return _start(how, environ)
    if not record.exists():
        _check_terminal(environ)  # Before there is a file with nothing in it.
    try:
        file = recording.create(record)
    except FileExistsError as error:
        message = f"{record} is there already; a recording is never written over another file"
        raise ConfigError(message) from error
    except OSError as error:
        message = f"cannot write {record}: {error.strerror}"
        raise ConfigError(message) from error

    def recorded(target: ConsoleTarget) -> Source:
        return Recorder(ServerSource(target, version), file, now_ms, version=version)

    only = {first: known[first]}
    return _start(msgspec.structs.replace(how, targets=only, opened=recorded), environ)


def replay(path: Path, speed: float, *, theme: str | None, environ: Mapping[str, str]) -> int:
    """Show a recording; the exit code. Raises `ConfigError` where it cannot be read."""
    try:
        source = Replay(path, RunningPace(speed))
        name = source.target.name
        how = ConsoleStart(
            targets={name: source.target},
            first=name,
            opened=lambda _: source,
            now_ms=source.now_ms,
            theme=theme,
            themes=themes(config_folder(environ)),
            keys=keys(config_folder(environ)),
            replayed=True,
        )
        return _start(how, environ)
    except RecordingInvalid as error:
        raise ConfigError(str(error)) from error


def _start(how: ConsoleStart, environ: Mapping[str, str]) -> int:
    """Run it, where an operator can see it."""
    _check_terminal(environ)
    return start_console(how)


def _check_terminal(environ: Mapping[str, str]) -> None:
    """Without one it would wait for keys for ever: raises `UsageError`."""
    # A browser's console has no terminal, but a driver that textual-serve names.
    if not (sys.stdin.isatty() and sys.stdout.isatty()) and "TEXTUAL_DRIVER" not in environ:
        message = "the console needs a terminal; in a browser: tpctl tui --serve"
        raise UsageError(message)
