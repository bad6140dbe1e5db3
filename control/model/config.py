"""Owns the control plane's settings and their one precedence: flag, environment, file, default.

The file is TOML with the names below. The environment has the same names in capitals with `TP_`
before them, and `QUEUE_SIZE` also without. Flags have dashes for underscores. What begins with
`worker_` may also stand in the file's table `worker`. Settings of the Kafka
client stand in the file's table `kafka` as the client names them, or in the environment, where
`TP_KAFKA_SASL_PASSWORD` is `sasl.password`.
"""

import tomllib
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from control.model import limits
from control.model.allowed_values import choices
from control.model.errors import ConfigError
from control.model.names import ENV_DATA_DIR, Service
from control.model.worker.isolation import IsolationMode
from control.model.worker.settings import (
    AddressTable,
    ContainerTable,
    KubernetesTable,
    Name,
    Tables,
)

EMBEDDED = "embedded"
KAFKA = "kafka://"
KAFKA_VARIABLES = "TP_KAFKA_"
_TOPIC_PREFIX_CHARS_MAX = 64
_STATEFUL = frozenset({Service.API, Service.SCHEDULER, Service.TRIGGER, Service.STATISTICS})
_DERIVED = frozenset({"secret_file"})  # No settings.
_WORKER_TABLE = "worker"
# Lists; in flags and the environment: comma-separated.
_SEVERAL = frozenset({"services", "allowed_hosts"})


class LogLevel(StrEnum):
    """The lowest level of the log lines that a program writes to stderr."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Address(msgspec.Struct, frozen=True):
    """Where to listen."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything `tpctl up` can be told."""

    data_dir: str
    listen: str = "127.0.0.1:8700"
    gateway: str = "127.0.0.1:8701"
    metrics: str = "127.0.0.1:0"  # Of a process without the API, which has them itself.
    bus: str = EMBEDDED
    topic_prefix: Annotated[
        str, Meta(pattern=r"^[A-Za-z0-9._-]*$", max_length=_TOPIC_PREFIX_CHARS_MAX)
    ] = ""
    kafka: dict[str, str] = {}
    services: tuple[Service, ...] = tuple(Service)
    workers: Annotated[int, Meta(ge=0, le=limits.SLOTS_MAX)] = 0
    worker_user: str | None = None  # Whom the local worker runs as; None: as whom we run.
    worker_isolation: IsolationMode = IsolationMode.AUTO
    # Of the config file's [worker]: what its kinds may use.
    worker_connections: dict[Name, AddressTable] = {}
    worker_targets: dict[Name, AddressTable] = {}
    worker_container: ContainerTable = ContainerTable()
    worker_kubernetes: KubernetesTable = KubernetesTable()
    partitions: Annotated[int, Meta(ge=1, le=limits.PARTITIONS_MAX)] = 10
    slow_share: Annotated[float, Meta(ge=0, le=1)] = 0.6
    slow_threshold: Annotated[float, Meta(gt=0)] | Literal["auto"] = "auto"
    lend: bool = True
    queue_size: Annotated[int, Meta(ge=1)] = limits.QUEUE_SIZE_DEFAULT
    keep_days: Annotated[float, Meta(gt=0)] = 30.0
    max_connections: Annotated[int, Meta(ge=2)] = limits.CONNECTIONS_DEFAULT
    allowed_hosts: tuple[str, ...] = ()
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    secret_file: str | None = None  # The file itself, if there may be a password in it.

    @property
    def brokers(self) -> str | None:
        """Where the Kafka cluster is, as its client takes it; None: the bus is embedded."""
        return self.bus.removeprefix(KAFKA) if self.bus.startswith(KAFKA) else None

    @property
    def worker_tables(self) -> Tables:
        """What the local worker's kinds may use."""
        return Tables(
            connections=self.worker_connections,
            targets=self.worker_targets,
            container=self.worker_container,
            kubernetes=self.worker_kubernetes,
        )

    @property
    def owns_state(self) -> bool:
        """Whether a service runs here that needs the state database."""
        return bool(_STATEFUL & set(self.services))

    @property
    def listen_address(self) -> Address:
        """Where the REST API listens."""
        return parse_address(self.listen)

    @property
    def gateway_address(self) -> Address:
        """Where workers connect."""
        return parse_address(self.gateway)

    @property
    def metrics_address(self) -> Address:
        """Where a process without the API tells of its health."""
        return parse_address(self.metrics)

    @property
    def directory(self) -> Path:
        """Where everything is kept."""
        return Path(self.data_dir)


def default_data_dir(environ: Mapping[str, str]) -> Path:
    """`TP_DATA_DIR`, or `taskplane` below the user's data directory."""
    if environ.get(ENV_DATA_DIR):
        return Path(environ[ENV_DATA_DIR])
    base = environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "taskplane"


def parse_address(text: str) -> Address:
    """Read `host:port`; raises `ConfigError`."""
    host, _, port = text.rpartition(":")
    if not port.isascii() or not port.isdigit() or not host or int(port) > limits.PORT_MAX:
        message = f"{text!r} is not an address; write it like 127.0.0.1:8700 (port 0: a free one)"
        raise ConfigError(message)
    return Address(host.removeprefix("[").removesuffix("]"), int(port))


def load_config(
    flags: Mapping[str, str | float | bool | None],
    environ: Mapping[str, str],
    file: Path | None,
) -> Config:
    """Put the settings together; raises `ConfigError` that names the source of what is wrong."""
    chosen: dict[str, object] = {"data_dir": str(default_data_dir(environ))}
    from_file = _read(file) if file is not None else {}
    settings = [name for name in Config.__struct_fields__ if name not in _DERIVED]
    for name in from_file.keys() - set(settings):
        known = ", ".join(settings)
        message = f"{file}: unknown setting {name!r}; settings are {known}"
        raise ConfigError(message)
    for field in msgspec.structs.fields(Config):
        name = field.name
        if name in _DERIVED:
            continue
        for source, value in (
            (f"--{name.replace('_', '-')}", flags.get(name)),
            (f"TP_{name.upper()}", environ.get(f"TP_{name.upper()}")),
            (name.upper(), environ.get(name.upper()) if name == "queue_size" else None),
            (f"{file}: {name}", from_file.get(name)),
        ):
            if value is not None:
                chosen[name] = _converted(source, name, value, field.type)
                break
    if file is not None and "kafka" in from_file:
        chosen["secret_file"] = str(file.absolute())
    chosen["kafka"] = _client_settings(chosen.get("kafka"), environ)
    config = msgspec.convert(chosen, Config)
    _check(config)
    return config


def _client_settings(from_file: object, environ: Mapping[str, str]) -> dict[str, str]:
    found = dict(msgspec.convert(from_file or {}, dict[str, str], strict=False))
    for name, value in environ.items():
        if name.startswith(KAFKA_VARIABLES):
            found[name.removeprefix(KAFKA_VARIABLES).lower().replace("_", ".")] = value
    return found


def _converted(source: str, name: str, value: object, wanted: object) -> object:
    if name in _SEVERAL and isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    try:
        return msgspec.to_builtins(msgspec.convert(value, wanted, strict=False))
    except msgspec.ValidationError as error:
        allowed = choices(error, wanted)
        hint = f"; allowed: {allowed}" if allowed else ""
        message = f"{source}: {error}{hint}"
        raise ConfigError(message) from error


def _check(config: Config) -> None:
    parse_address(config.listen)
    parse_address(config.gateway)
    parse_address(config.metrics)
    if not config.services:
        message = f"--services: name at least one of {', '.join(Service)}"
        raise ConfigError(message)
    if config.bus == EMBEDDED:
        return
    if config.brokers is None:
        message = f"--bus {config.bus}: it is embedded, or kafka://host:port[,host:port]"
        raise ConfigError(message)
    for server in config.brokers.split(","):
        try:
            parse_address(server)
        except ConfigError as error:
            message = f"--bus {config.bus}: {error}"
            raise ConfigError(message) from error


def _read(file: Path) -> dict[str, object]:
    try:
        found = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        message = f"cannot read the config file {file}: {error}"
        raise ConfigError(message) from error
    table = found.pop(_WORKER_TABLE, None)
    if table is not None:
        if not isinstance(table, dict):
            message = f"{file}: {_WORKER_TABLE} is a table, [{_WORKER_TABLE}]"
            raise ConfigError(message)
        found |= {f"{_WORKER_TABLE}_{name}": value for name, value in table.items()}
    return found
