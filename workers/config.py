"""Decides a worker's settings: flags over environment over the control plane's data directory."""

import hashlib
import os
import re
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from control.model import limits, names
from control.model.config import default_data_dir
from control.model.errors import ConfigError
from control.model.worker.isolation import IsolationMode
from control.model.worker.settings import Tables, WorkerSettings, settings_of

_STDIN: Final = Path("-")
_MARK_CHARS: Final = 8  # Two data directories of one name differ in this much of a hash.
_WORKER_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class _WorkerCredentials(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker reads of credentials.toml.

    `settings`: a worker's config file as JSON; `tpctl up` sends it so to its local worker, which
    may not be allowed to read the file.
    """

    gateway: str | None = None
    client_id: str | None = None
    client_secret: str | None = None
    settings: str | None = None


class _ConfigFile(Tables, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a worker reads of its config file. The command line goes before it."""

    slots: Annotated[int, Meta(ge=1, le=limits.SLOTS_MAX)] | None = None
    labels: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    name: str | None = None


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
    former_workers_dir: Path | None = None  # Where version 0.1 made them: results may be there.
    state_dir: Path | None = None
    isolation: IsolationMode = IsolationMode.AUTO
    hidden: tuple[Path, ...] = ()  # From jobs, besides the worker's own directory.
    parent: int | None = None  # A process that has started this one, which ends with it.
    settings: WorkerSettings = WorkerSettings()


class Flags(msgspec.Struct, frozen=True, kw_only=True):
    """The options of the command line; None where there are none."""

    urls: Sequence[str] = ()
    slots: int | None = None
    labels: Sequence[str] = ()
    kinds: Sequence[str] = ()
    name: str | None = None
    data_dir: Path | None = None
    state_dir: Path | None = None
    config: Path | None = None
    credentials: Path | None = None  # A file, or "-": standard input.
    isolation: IsolationMode | None = None
    hide: Sequence[Path] = ()
    parent: int | None = None


def load_config(flags: Flags, environ: Mapping[str, str], host: str) -> WorkerConfig:
    """Put the configuration together; raises ConfigError that says what is wrong or missing."""
    data_dir = flags.data_dir or default_data_dir(environ)
    credentials = flags.credentials or _path(environ.get(names.ENV_CREDENTIALS))
    file = _read_credentials(credentials or data_dir / names.CREDENTIALS_FILE)
    urls = tuple(flags.urls) or ((file.gateway,) if file.gateway else ())
    if not urls:
        msg = (
            f"no gateway: give --url ws://HOST:8701, or --data-dir with a control plane's "
            f"{names.CREDENTIALS_FILE} (looked in {data_dir})"
        )
        raise ConfigError(msg)
    client_id, client_secret = file.client_id, file.client_secret
    if credentials is None:
        client_id = environ.get(names.ENV_CLIENT_ID) or client_id
        client_secret = environ.get(names.ENV_CLIENT_SECRET) or client_secret
    if not client_id or not client_secret:
        msg = f"no credentials: set {names.ENV_CLIENT_ID} and {names.ENV_CLIENT_SECRET}"
        raise ConfigError(msg)
    config_path = flags.config or _path(environ.get(names.ENV_WORKER_CONFIG))
    chosen = _read_config(config_path, file.settings)
    name = flags.name if flags.name is not None else chosen.name
    if name is not None and not _WORKER_NAME.fullmatch(name):
        msg = f"{name!r} is no worker's name; use letters, digits, '.', '_' and '-'"
        raise ConfigError(msg)
    hidden = [*_secret_places(flags, environ, data_dir, credentials)]
    hidden += [path for path in (config_path, *chosen.password_files) if path is not None]
    return WorkerConfig(
        urls=tuple(map(_checked_url, urls)),
        client_id=client_id,
        client_secret=client_secret,
        slots=flags.slots or chosen.slots or os.cpu_count() or 1,
        host=host[: limits.NAME_CHARS_MAX],
        labels=tuple(flags.labels) or chosen.labels,
        kinds=tuple(flags.kinds) or chosen.kinds,
        name=name,
        workers_dir=default_workers_dir(environ, data_dir),
        former_workers_dir=data_dir / "workers",
        state_dir=flags.state_dir,
        isolation=flags.isolation or _isolation(environ),
        parent=flags.parent,
        hidden=tuple(hidden),
        settings=settings_of(chosen, environ),
    )


def default_workers_dir(environ: Mapping[str, str], data_dir: Path) -> Path:
    """Where the workers of this data directory keep their state: never inside of it.

    Below systemd's directory for the unit, or else the user's directory for state, where each data
    directory has a name of its own.
    """
    unit = environ.get(names.ENV_STATE_DIRECTORY, "").partition(":")[0]
    if unit:
        return Path(unit) / "workers"
    base = environ.get(names.ENV_STATE_HOME) or _home() / ".local" / "state"
    whole = os.path.realpath(data_dir)
    mark = hashlib.sha256(os.fsencode(whole)).hexdigest()[:_MARK_CHARS]
    return Path(base) / "taskplane" / "workers" / f"{Path(whole).name}-{mark}"


def _home() -> Path:
    """The user's home; a user of a container may have none."""
    home = os.path.expanduser("~")
    return Path(tempfile.gettempdir() if home == "~" else home)


def _secret_places(
    flags: Flags, environ: Mapping[str, str], data_dir: Path, credentials: Path | None
) -> Iterator[Path]:
    """What jobs must not see, besides the worker's own directory."""
    yield data_dir
    yield default_data_dir(environ)  # Another control plane of this user may be there.
    yield Path(environ.get(names.ENV_CONFIG_HOME) or _home() / ".config") / "taskplane"
    if credentials is not None and credentials != _STDIN:
        yield credentials
    yield from flags.hide


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


def _isolation(environ: Mapping[str, str]) -> IsolationMode:
    asked = environ.get(names.ENV_WORKER_ISOLATION) or IsolationMode.AUTO
    try:
        return IsolationMode(asked)
    except ValueError as error:
        allowed = ", ".join(IsolationMode)
        msg = f"{names.ENV_WORKER_ISOLATION}: {asked!r} is not one of {allowed}"
        raise ConfigError(msg) from error


def name_from_host(host: str) -> str:
    """Make a worker's name of a host's."""
    name = re.sub(r"[^A-Za-z0-9._-]", "-", host).lstrip("._-")
    return name[: limits.NAME_CHARS_MAX - 4] or "worker"


def _read_credentials(path: Path) -> _WorkerCredentials:
    try:
        text = sys.stdin.read() if path == _STDIN else path.read_text("utf-8")
        return msgspec.convert(tomllib.loads(text), _WorkerCredentials)
    except FileNotFoundError:
        return _WorkerCredentials()
    except (OSError, ValueError) as error:
        msg = f"cannot read {path}: {error}"
        raise ConfigError(msg) from error


def _read_config(path: Path | None, inline: str | None) -> _ConfigFile:
    """The config file, or what `tpctl up` has sent in place of it."""
    try:
        if path is not None:
            return msgspec.convert(tomllib.loads(path.read_text("utf-8")), _ConfigFile)
        if inline is not None:
            return msgspec.json.decode(inline, type=_ConfigFile)
    except (OSError, ValueError) as error:
        msg = f"cannot read the config file {path or 'of the control plane, [worker]'}: {error}"
        raise ConfigError(msg) from error
    return _ConfigFile()


def _checked_url(url: str) -> str:
    if "://" not in url:
        url = f"ws://{url}"  # credentials.toml may name just host and port.
    if not re.match(r"wss?://[^/\s]+", url):
        msg = f"{url!r} is no gateway's address; write it like ws://host:8701"
        raise ConfigError(msg)
    return url
