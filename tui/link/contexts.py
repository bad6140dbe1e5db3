"""Decides what the user's own files say: control planes by name, other keys, other colours."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from tui.link.source import ConsoleTarget, apart

FILE: Final = "contexts.toml"
KEYS_FILE: Final = "keys.toml"
THEMES_FILE: Final = "themes.toml"
Value = TypeVar("Value")
_LOCAL: Final = ("127.0.0.1", "localhost", "[::1]")


class ContextsInvalid(Exception):
    """One of the files cannot be used; the text says where and why."""


class _Context(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`data_dir`: whose credentials.toml is read; `guarded`: its name stands there in red."""

    url: str | None = None
    data_dir: str | None = None
    client_id: str | None = None
    client_secret: str | None = None
    guarded: bool = False


class Colours(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A theme of the user's own: names or `#rrggbb`; what is left out is as in ours.

    `primary`: fast, and what is in focus; `secondary`: slow; `accent`: what runs.
    """

    primary: str | None = None
    secondary: str | None = None
    accent: str | None = None
    success: str | None = None
    warning: str | None = None
    error: str | None = None
    foreground: str | None = None
    background: str | None = None
    surface: str | None = None
    panel: str | None = None
    dark: bool = True


class _StoredContexts(msgspec.Struct, frozen=True, kw_only=True):
    url: str
    client_id: str | None = None
    client_secret: str | None = None


def contexts(folder: Path) -> dict[str, ConsoleTarget]:
    """The contexts of `contexts.toml` in this folder; none where there is no such file.

    Raises `ContextsInvalid`.
    """
    found = _read(folder / FILE, dict[str, _Context])
    return {name: _target(folder / FILE, name, each) for name, each in found.items()}


def keys(folder: Path) -> dict[str, str]:
    """Other keys for commands: `"view.runs" = "f4"`; none where there is no `keys.toml`.

    Raises `ContextsInvalid`.
    """
    return _read(folder / KEYS_FILE, dict[str, str])


def themes(folder: Path) -> dict[str, Colours]:
    """Other colours, by the names of themes; none where there is no `themes.toml`.

    Raises `ContextsInvalid`.
    """
    return _read(folder / THEMES_FILE, dict[str, Colours])


def _read(file: Path, shape: type[dict[str, Value]]) -> dict[str, Value]:
    try:
        return msgspec.convert(tomllib.loads(file.read_text("utf-8")), shape)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        message = f"cannot read {file}: {error}"
        raise ContextsInvalid(message) from error


def config_folder(environ: Mapping[str, str]) -> Path:
    """Where the user's settings are."""
    base = environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "taskplane"


def _target(file: Path, name: str, context: _Context) -> ConsoleTarget:
    stored = _StoredContexts(url="")
    if context.data_dir is not None:
        credentials = Path(context.data_dir).expanduser() / "credentials.toml"
        try:
            stored = msgspec.convert(tomllib.loads(credentials.read_text("utf-8")), _StoredContexts)
        except (OSError, ValueError) as error:
            message = f"{file}: context {name}: cannot read {credentials}: {error}"
            raise ContextsInvalid(message) from error
    url = (context.url or stored.url).rstrip("/")
    if not url.startswith(("http://", "https://")):
        message = f"{file}: context {name} needs a url such as http://127.0.0.1:8700, or a data_dir"
        raise ContextsInvalid(message)
    url, user, password = apart(url)
    return ConsoleTarget(
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
