"""Decides which server is asked, and as which client: flag, environment, then credentials.toml."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from control.model import names
from control.model.config import default_data_dir
from control.model.errors import ConfigError

DEFAULT_URL: Final = "http://127.0.0.1:8700"


class _CredentialsFile(msgspec.Struct, frozen=True, kw_only=True):
    """What is read of credentials.toml."""

    url: str | None = None
    client_id: str | None = None
    client_secret: str | None = None


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """Which server, and as which client; without credentials the server decides what it answers."""

    url: str
    client_id: str | None
    client_secret: str | None
    file: Path  # Where credentials.toml is, or would be.

    @property
    def is_local(self) -> bool:
        """Whether the server is on this host: no proxy stands between."""
        return urlsplit(self.url).hostname in {"127.0.0.1", "localhost", "::1"}


def load_login(*, url: str | None, data_dir: Path | None, environ: Mapping[str, str]) -> Login:
    """Put it together; raises `ConfigError` that says what is wrong."""
    file = (data_dir or default_data_dir(environ)) / names.CREDENTIALS_FILE
    client_id = environ.get(names.ENV_CLIENT_ID)
    secret = environ.get(names.ENV_CLIENT_SECRET)
    if bool(client_id) != bool(secret):
        here, missing = names.ENV_CLIENT_ID, names.ENV_CLIENT_SECRET
        if secret:
            here, missing = missing, here
        message = f"{here} is set, but {missing} is not; set both or neither"
        raise ConfigError(message)
    named_url = url or environ.get(names.ENV_URL)
    stored = _CredentialsFile() if named_url and client_id else _read(file)
    return Login(
        url=_checked(named_url or stored.url or DEFAULT_URL),
        client_id=client_id or stored.client_id,
        client_secret=secret or stored.client_secret,
        file=file,
    )


def _read(file: Path) -> _CredentialsFile:
    try:
        return msgspec.convert(tomllib.loads(file.read_text("utf-8")), _CredentialsFile)
    except (FileNotFoundError, NotADirectoryError):
        return _CredentialsFile()
    except OSError as error:
        message = f"cannot read {file}: {error.strerror}"
        raise ConfigError(message) from error
    except ValueError as error:
        message = f"cannot read {file}: {error}"
        raise ConfigError(message) from error


def _checked(url: str) -> str:
    whole = url if "://" in url else f"http://{url}"
    try:
        parts = urlsplit(whole)
        right = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        right = False
    if not right:
        message = f"{url!r} is not a server's address; write it like {DEFAULT_URL}"
        raise ConfigError(message)
    return whole.rstrip("/")
