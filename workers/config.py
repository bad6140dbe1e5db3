"""Decides what a worker is told: flags over environment over the control plane's data directory."""

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from control.model import limits, names
from control.model.config import default_data_dir
from control.model.errors import ConfigError

_WORKER_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class _Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker reads of credentials.toml."""

    gateway: str | None = None
    client_id: str | None = None
    client_secret: str | None = None


class WorkerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Everything one `tpworker` process needs to know."""

    urls: Annotated[tuple[str, ...], Meta(min_length=1)]
    client_id: str
    client_secret: str
    slots: int
    host: str
    labels: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()  # None named: all that are installed.
    name: str | None = None
    workers_dir: Path  # Where workers without a name or directory of their own make one.
    state_dir: Path | None = None


class Flags(msgspec.Struct, frozen=True, kw_only=True):
    """What was said on the command line; None where nothing was."""

    urls: Sequence[str] = ()
    slots: int | None = None
    labels: Sequence[str] = ()
    kinds: Sequence[str] = ()
    name: str | None = None
    data_dir: Path | None = None
    state_dir: Path | None = None


def load_config(flags: Flags, environ: Mapping[str, str], host: str) -> WorkerConfig:
    """Put the configuration together; raises ConfigError that says what is missing."""
    data_dir = flags.data_dir or default_data_dir(environ)
    file = _read_credentials(data_dir / names.CREDENTIALS_FILE)
    urls = tuple(flags.urls) or ((file.gateway,) if file.gateway else ())
    if not urls:
        msg = (
            f"no gateway: give --url ws://HOST:8701, or --data-dir with a control plane's "
            f"{names.CREDENTIALS_FILE} (looked in {data_dir})"
        )
        raise ConfigError(msg)
    client_id = environ.get(names.ENV_CLIENT_ID) or file.client_id
    client_secret = environ.get(names.ENV_CLIENT_SECRET) or file.client_secret
    if not client_id or not client_secret:
        msg = f"no credentials: set {names.ENV_CLIENT_ID} and {names.ENV_CLIENT_SECRET}"
        raise ConfigError(msg)
    if flags.name is not None and not _WORKER_NAME.fullmatch(flags.name):
        msg = f"{flags.name!r} is no worker's name; use letters, digits, '.', '_' and '-'"
        raise ConfigError(msg)
    return WorkerConfig(
        urls=tuple(map(_checked_url, urls)),
        client_id=client_id,
        client_secret=client_secret,
        slots=flags.slots or os.cpu_count() or 1,
        host=host[: limits.NAME_CHARS_MAX],
        labels=tuple(flags.labels),
        kinds=tuple(flags.kinds),
        name=flags.name,
        workers_dir=data_dir / "workers",
        state_dir=flags.state_dir,
    )


def name_from_host(host: str) -> str:
    """Make a worker's name of a host's."""
    name = re.sub(r"[^A-Za-z0-9._-]", "-", host).lstrip("._-")
    return name[: limits.NAME_CHARS_MAX - 4] or "worker"


def _read_credentials(path: Path) -> _Credentials:
    try:
        return msgspec.convert(tomllib.loads(path.read_text("utf-8")), _Credentials)
    except FileNotFoundError:
        return _Credentials()
    except (OSError, ValueError) as error:
        msg = f"cannot read {path}: {error}"
        raise ConfigError(msg) from error


def _checked_url(url: str) -> str:
    if "://" not in url:
        url = f"ws://{url}"  # credentials.toml may name just host and port.
    if not re.match(r"wss?://[^/\s]+", url):
        msg = f"{url!r} is no gateway's address; write it like ws://host:8701"
        raise ConfigError(msg)
    return url
