"""Owns what a data directory needs before services start: a lock, an admin, credentials.toml."""

import fcntl
import json
import os
import socket
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import structlog

from control.api.auth.authentication import hash_secret, make_secret, matches
from control.model.config import EMBEDDED, Config
from control.model.errors import ConfigError
from control.model.names import CREDENTIALS_FILE, RESTORE_FILE
from control.model.pipelines import PRIORITY_DEFAULT
from control.model.states import Role
from control.transactions import client_announcements, split
from store import clients, settings
from store.clients import Terms
from store.database.connection import Connection
from store.database.writer import Tx
from store.settings import Setting

LOG = structlog.get_logger("bootstrap")
ADMIN: Final = "admin"
LOCAL_WORKER: Final = "local-worker"
_LOCK_FILE: Final = "lock"
_MEMBER_FILE: Final = "member"
_SALT_BYTES: Final = 16


@contextmanager
def locked(directory: Path, *, restoring: bool = False) -> Iterator[None]:
    """Hold a data directory for this process; raises `ConfigError` when another one has it.

    Also when a restore was interrupted there: only another restore (`restoring`) may go on.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(directory / _LOCK_FILE, os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        message = f"the data directory {directory} cannot be used: {error.strerror}"
        raise ConfigError(message) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        message = (
            f"another control plane is using {directory}; stop it, or give --data-dir another one"
        )
        raise ConfigError(message) from None
    try:
        if not restoring and (directory / RESTORE_FILE).exists():
            message = (
                f"a restore of {directory} was interrupted, so it has only a part of its data; "
                "run `tpctl restore FILE` again"
            )
            raise ConfigError(message)
        yield
    finally:
        os.close(lock)


def member(directory: Path, random_bytes: Callable[[int], bytes]) -> str:
    """This process's name among all of a control plane: the same whenever it uses the directory."""
    file = directory / _MEMBER_FILE
    name = file.read_text(encoding="utf-8").strip() if file.exists() else ""
    if not name:  # Or it died before it had written it: without a name, two would be taken for one.
        name = f"{socket.gethostname()}-{random_bytes(4).hex()}"
        write_private(file, f"{name}\n")
    return name


def bus_name(config: Config) -> str:
    """What a state database calls the bus of this config."""
    return EMBEDDED if config.brokers is None else f"kafka {config.topic_prefix}".strip()


def claim_bus(conn: Connection, config: Config) -> None:
    """Keep which bus the jobs of this database are on; raises `ConfigError` if it is another one.

    A database that has jobs waiting on one bus would lose them on another.
    """
    wanted = bus_name(config)
    found = settings.get(conn, Setting.BUS)
    if found is None:
        settings.put(conn, Setting.BUS, wanted)
    elif found != wanted:
        move = (
            f"move it: tpctl bus promote {config.bus}"
            if found == EMBEDDED
            else "start with --bus kafka://host:port (and the --topic-prefix it had), or move it "
            "back: tpctl bus demote kafka://host:port"
        )
        message = f"the jobs of {config.directory} are on another bus ({found}); {move}"
        raise ConfigError(message)


def note_split(conn: Connection, config: Config) -> None:
    """Say so where operators have set the split: it counts, and not what the config says."""
    found = split.kept(conn)
    if found is not None:
        slow_share = "auto" if found.slow_share is None else found.slow_share
        LOG.info("split.kept", slow_share=slow_share, configured=config.slow_share)


def ensure_admin(
    tx: Tx, directory: Path, *, now_ms: int, random_bytes: Callable[[int], bytes]
) -> tuple[str, str]:
    """The client id and secret that go into credentials.toml, inside the transaction.

    Those in the file stay. Where there are none (at the first start, or the file or its client is
    gone) the client `admin` gets a new secret: who can write here is the owner. A secret that
    was rotated, so that the one in the file is refused, is not rotated again.
    """
    client_id, secret = stored_credentials(directory / CREDENTIALS_FILE)
    login = clients.login(tx.conn, client_id) if client_id else None
    if login is not None:
        if not matches(secret, login.secret_hash):
            LOG.warning(
                "credentials.refused",
                client=client_id,
                reason=f"the secret in {CREDENTIALS_FILE} is not the client's: put the right one "
                f"there, or delete the file and start again for a new secret of {ADMIN}",
            )
        return client_id, secret
    if clients.login(tx.conn, ADMIN) is not None:
        LOG.warning("admin.rotated", reason=f"there were no credentials in {CREDENTIALS_FILE}")
    return ADMIN, _new_secret(tx, ADMIN, Role.ADMIN, now_ms=now_ms, random_bytes=random_bytes)


def renew_local_worker(
    tx: Tx, *, now_ms: int, random_bytes: Callable[[int], bytes]
) -> tuple[str, str]:
    """The client id and a new secret of the local worker, inside the transaction.

    The secret of an earlier start is invalid from then on. Raises `ConfigError` when the client of
    that name has another role.
    """
    login = clients.login(tx.conn, LOCAL_WORKER)
    if login is not None and login.role is not Role.WORKER:
        message = (
            f"the client {LOCAL_WORKER} has the role {login.role}; the local worker needs it with "
            "the role worker: delete it, or start without --workers"
        )
        raise ConfigError(message)
    secret = _new_secret(tx, LOCAL_WORKER, Role.WORKER, now_ms=now_ms, random_bytes=random_bytes)
    return LOCAL_WORKER, secret


def _new_secret(
    tx: Tx, client: str, role: Role, *, now_ms: int, random_bytes: Callable[[int], bytes]
) -> str:
    """Give a client a new secret; one that does not exist is made, without limits."""
    secret = make_secret(random_bytes)
    secret_hash = hash_secret(secret, random_bytes(_SALT_BYTES))
    if clients.login(tx.conn, client) is None:
        wanted = Terms(
            role=role,
            priority=PRIORITY_DEFAULT,
            max_queued=None,
            max_running=None,
            enabled=True,
        )
        made = clients.create(tx.conn, client, wanted, secret_hash=secret_hash, now_ms=now_ms)
    else:
        made = clients.rotate(tx.conn, client, secret_hash)
    client_announcements.tell(tx, made)
    return secret


def write_credentials(
    directory: Path, *, url: str | None, gateway: str | None, client_id: str, secret: str
) -> None:
    """Write credentials.toml, readable by its owner only, in one step."""
    values = {"url": url, "gateway": gateway, "client_id": client_id, "client_secret": secret}
    # A JSON string is a TOML basic string.
    text = "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items() if value)
    write_private(directory / CREDENTIALS_FILE, text)


def note_rotated(directory: Path, client_id: str, secret: str) -> None:
    """Write a client's new secret into credentials.toml, if it is the client's. Raises OSError."""
    path = directory / CREDENTIALS_FILE
    stored, _ = stored_credentials(path)
    if stored == client_id:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        write_credentials(
            directory,
            url=values.get("url"),
            gateway=values.get("gateway"),
            client_id=client_id,
            secret=secret,
        )


def write_private(path: Path, text: str) -> None:
    """Write a file, readable by its owner only, in one step."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
        file.write(text)
    fresh.replace(path)


def stored_credentials(path: Path) -> tuple[str, str]:
    """Client id and secret of a credentials.toml; empty where it does not say."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "", ""
    return str(values.get("client_id", "")), str(values.get("client_secret", ""))
