"""Owns `tpctl tui --serve`: the same console in a browser on this host, one process per page."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from control.model.errors import ConfigError

_OWN: Final = {"--serve": 0, "--port": 1}  # Options that the served command goes without.


def serve(arguments: Sequence[str], port: int) -> None:
    """Serve until interrupted. `arguments`: of this process, with the program's name first.

    Raises `ConfigError`.
    """
    try:
        from control.cli.console.guarded_server import GuardedServer  # noqa: PLC0415 - needs an extra.
    except ImportError as error:
        message = (
            "--serve needs textual-serve, an extra: "
            "pip install '.[browser]' in a clone of Taskplane"
        )
        raise ConfigError(message) from error

    try:
        GuardedServer(served(arguments), port).serve()
    except OSError as error:
        message = f"cannot listen on port {port}: {error.strerror}"
        raise ConfigError(message) from error


def served(arguments: Sequence[str]) -> str:
    """The command line whose console is shown: this one, but in a terminal."""
    program, *rest = arguments
    words = [str(Path(program).absolute()) if "/" in program else program]
    skipped = 0
    for each in rest:
        if skipped:
            skipped -= 1
        elif each in _OWN:
            skipped = _OWN[each]
        elif not each.startswith("--port="):
            words.append(each)
    return shlex.join(words)
