"""Owns what an operator allows the kinds of a worker: connections, targets, containers, clusters.

A job names a connection or a target; addresses and passwords stand in the worker's config file only
(docs/contract.md, "The worker's config file"), and never in a definition, a message, or a log.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from control.model import limits
from control.model.errors import ConfigError

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
Pull = Literal["missing", "always", "never"]
EngineName = Literal["podman", "docker"]


class AddressTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[connections.NAME]` or `[targets.NAME]`: a URL, and where its password is."""

    url: Annotated[str, Meta(min_length=1, max_length=limits.TEXT_CHARS_MAX)]
    password_env: str | None = None
    password_file: str | None = None


class ContainerTable(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """`[container]`: which engine runs containers, with which arguments, and what they may mount.

    `engine` None: whichever is installed. `mounts`: host directories, each with all below it.
    """

    engine: EngineName | None = None
    arguments: tuple[str, ...] = ()
    mounts: tuple[str, ...] = ()
    pull: Pull | None = None


class KubernetesTable(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """`[kubernetes]`: which contexts and namespaces jobs may use; none named: all."""

    contexts: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()


class Tables(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """These tables of a worker's config, as they are written."""

    connections: dict[Name, AddressTable] = {}
    targets: dict[Name, AddressTable] = {}
    container: ContainerTable = ContainerTable()
    kubernetes: KubernetesTable = KubernetesTable()

    @property
    def password_files(self) -> list[Path]:
        """What no job may read."""
        tables = (*self.connections.values(), *self.targets.values())
        return [Path(each.password_file) for each in tables if each.password_file is not None]


class SecretUrl(msgspec.Struct, frozen=True):
    """A connection or a target. Its `repr` shows neither: a URL may have a password in it."""

    url: str
    secret: str | None = None

    def __repr__(self) -> str:
        """Nothing that must not be in a log."""
        return "Address(…)"


class WorkerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the kinds of a worker are configured with; secrets are read."""

    connections: Mapping[str, SecretUrl] = {}
    targets: Mapping[str, SecretUrl] = {}
    container: ContainerTable = ContainerTable()
    kubernetes: KubernetesTable = KubernetesTable()


def settings_of(tables: Tables, environ: Mapping[str, str]) -> WorkerSettings:
    """Read the secrets that the tables name; raises `ConfigError`."""
    return WorkerSettings(
        connections={
            name: _address(f"connections.{name}", each, environ)
            for name, each in tables.connections.items()
        },
        targets={
            name: _address(f"targets.{name}", each, environ)
            for name, each in tables.targets.items()
        },
        container=tables.container,
        kubernetes=tables.kubernetes,
    )


def _address(path: str, table: AddressTable, environ: Mapping[str, str]) -> SecretUrl:
    if table.password_env is not None and table.password_file is not None:
        raise ConfigError(f"{path}: give password_env or password_file, not both")
    if table.password_env is not None:
        secret = environ.get(table.password_env)
        if secret is None:
            raise ConfigError(f"{path}: the environment has no {table.password_env}")
        return SecretUrl(table.url, secret)
    if table.password_file is None:
        return SecretUrl(table.url)
    try:
        text = Path(table.password_file).read_text("utf-8")
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot read {table.password_file}: {error}") from error
    return SecretUrl(table.url, text.removesuffix("\n").removesuffix("\r"))
