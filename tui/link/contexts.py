"""Decides which control planes the console knows by name, and its keys: files of the user's."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from tui.link.source import Target, apart

FILE: Final = "contexts.toml"
KEYS_FILE: Final = "keys.toml"
_LOCAL: Final = ("127.0.0.1", "localhost", "[::1]")


class ContextsInvalid(Exception):
    """The file of contexts cannot be used; the text says where and why."""


class _Context(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`data_dir`: whose credentials.toml is read; `guarded`: its name stands there in red."""

    url: str | None = None
    data_dir: str | None = None
    client_id: str | None = None
    client_secret: str | None = None
    guarded: bool = False


class _Stored(msgspec.Struct, frozen=True, kw_only=True):
    url: str
    client_id: str | None = None
    client_secret: str | None = None


def contexts(folder: Path) -> dict[str, Target]:
    """The contexts of `contexts.toml` in this folder; none where there is no such file.

    Raises `ContextsInvalid`.
    """
    file = folder / FILE
    try:
        found = msgspec.convert(tomllib.loads(file.read_text("utf-8")), dict[str, _Context])
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        message = f"cannot read {file}: {error}"
        raise ContextsInvalid(message) from error
    return {name: _target(file, name, each) for name, each in found.items()}


def keys(folder: Path) -> dict[str, str]:
    """Other keys for commands: `"view.runs" = "f4"`; none where there is no `keys.toml`.

    Raises `ContextsInvalid`.
    """
    file = folder / KEYS_FILE
    try:
        return msgspec.convert(tomllib.loads(file.read_text("utf-8")), dict[str, str])
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        message = f"cannot read {file}: {error}"
        raise ContextsInvalid(message) from error


def config_folder(environ: Mapping[str, str]) -> Path:
    """Where the user's settings are."""
    base = environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "taskplane"


def _target(file: Path, name: str, context: _Context) -> Target:
    stored = _Stored(url="")
    if context.data_dir is not None:
        credentials = Path(context.data_dir).expanduser() / "credentials.toml"
        try:
            stored = msgspec.convert(tomllib.loads(credentials.read_text("utf-8")), _Stored)
        except (OSError, ValueError) as error:
            message = f"{file}: context {name}: cannot read {credentials}: {error}"
            raise ContextsInvalid(message) from error
    url = (context.url or stored.url).rstrip("/")
    if not url.startswith(("http://", "https://")):
        message = f"{file}: context {name} needs a url such as http://127.0.0.1:8700, or a data_dir"
        raise ContextsInvalid(message)
    url, user, password = apart(url)
    return Target(
        name=name,
        url=url,
        client_id=context.client_id or user or stored.client_id,
        client_secret=context.client_secret or password or stored.client_secret,
        direct=is_local(url),
        guarded=context.guarded,
    )


def is_local(url: str) -> bool:
    """Whether a server is on this host: no proxy stands between."""
    return url.partition("://")[2].startswith(_LOCAL)
