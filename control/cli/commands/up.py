"""Owns the command `tpctl up`, which starts the control plane in the foreground."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from control.cli.command_context import CommandEnvironment, report
from control.cli.errors import exit_code
from control.model import limits
from control.model.config import Config, LogLevel, load_config
from control.model.errors import TaskplaneError
from control.model.names import Service
from control.model.worker.isolation import IsolationMode


class OnOff(StrEnum):
    """On or off."""

    ON = "on"
    OFF = "off"


Listen = Annotated[
    str | None, typer.Option(help="The REST API. Default: 127.0.0.1:8700; port 0: a free one.")
]
GatewayAt = Annotated[
    str | None, typer.Option(help="Where workers connect. Default: 127.0.0.1:8701.")
]
MetricsAt = Annotated[
    str | None,
    typer.Option(help="Health and metrics of a process without the API. Default: 127.0.0.1:0."),
]
Directory = Annotated[
    Path | None, typer.Option(help="Where everything is kept. Default: TP_DATA_DIR.")
]
ConfigFile = Annotated[Path | None, typer.Option(help="A TOML file with settings.")]
Partitions = Annotated[
    int | None, typer.Option(help="Lanes in which jobs wait for workers. Default: 10.")
]
Workers = Annotated[
    int | None,
    typer.Option(min=0, max=limits.SLOTS_MAX, help="Also start a local worker with so many slots."),
]
WorkerUser = Annotated[
    str | None, typer.Option(help="Whom the local worker and its jobs run as; needs root.")
]
WorkerIsolation = Annotated[
    IsolationMode | None,
    typer.Option(help="Of its jobs. auto: what the kernel has; required: or no start; none."),
]
BusAddress = Annotated[
    str | None, typer.Option(help="embedded (the default), or kafka://host:port[,host:port].")
]
TopicPrefix = Annotated[
    str | None, typer.Option(help="Begins the names of all topics and groups on Kafka.")
]
Services = Annotated[
    str | None, typer.Option(help=f"Only these: {','.join(Service)}. Default: all.")
]
SlowShare = Annotated[
    float | None, typer.Option(help="The part of the partitions slow jobs get. Default: 0.6.")
]
SlowThreshold = Annotated[
    str | None, typer.Option(help="Seconds from which a job is slow. Default: auto.")
]
Lend = Annotated[OnOff | None, typer.Option(help="Whether idle slots may be lent. Default: on.")]
QueueSize = Annotated[
    int | None, typer.Option(help="How many jobs may wait. Default: QUEUE_SIZE, or 100000.")
]
KeepDays = Annotated[float | None, typer.Option(help="How long ended runs are kept. Default: 30.")]
MaxConnections = Annotated[
    int | None,
    typer.Option(help="Of the API and of the gateway each, at once. Default: 4096."),
]
AllowedHosts = Annotated[
    str | None,
    typer.Option(help="Names it is called by, besides addresses: tasks.example.org,other.org."),
]
Level = Annotated[LogLevel | None, typer.Option(help="On stderr. Default: info.")]


def add_to(app: typer.Typer) -> None:
    """Register it."""
    app.command("up", epilog="Example: tpctl up --data-dir ./plane --workers 4")(up)


def up(
    context: typer.Context,
    *,
    listen: Listen = None,
    gateway: GatewayAt = None,
    metrics: MetricsAt = None,
    data_dir: Directory = None,
    config: ConfigFile = None,
    partitions: Partitions = None,
    workers: Workers = None,
    worker_user: WorkerUser = None,
    worker_isolation: WorkerIsolation = None,
    bus: BusAddress = None,
    topic_prefix: TopicPrefix = None,
    services: Services = None,
    slow_share: SlowShare = None,
    slow_threshold: SlowThreshold = None,
    lend: Lend = None,
    queue_size: QueueSize = None,
    keep_days: KeepDays = None,
    max_connections: MaxConnections = None,
    allowed_hosts: AllowedHosts = None,
    log_level: Level = None,
) -> None:
    """Start the control plane: all services in this process, until SIGTERM or Ctrl-C.

    Each flag can also be set in the --config file (slow_share = 0.5) or in the environment
    (TP_SLOW_SHARE=0.5). A flag wins over the environment, the environment over the file.
    """
    world: CommandEnvironment = context.obj
    directory = data_dir or world.data_dir
    flags: dict[str, str | float | bool | None] = {
        "listen": listen,
        "gateway": gateway,
        "metrics": metrics,
        "data_dir": None if directory is None else str(directory),
        "partitions": partitions,
        "workers": workers,
        "worker_user": worker_user,
        "worker_isolation": worker_isolation,
        "bus": bus,
        "topic_prefix": topic_prefix,
        "services": services,
        "slow_share": slow_share,
        "slow_threshold": slow_threshold,
        "lend": None if lend is None else lend == OnOff.ON,
        "queue_size": queue_size,
        "keep_days": keep_days,
        "max_connections": max_connections,
        "allowed_hosts": allowed_hosts,
        "log_level": log_level,
    }
    try:
        settings = load_config(flags, world.environ, config)
        code = _serve(settings)
    except TaskplaneError as error:
        report(error)
        raise typer.Exit(exit_code(error)) from error
    raise typer.Exit(code)


def _serve(settings: Config) -> int:
    from control.process import control_plane  # noqa: PLC0415 - everything there is; a second that --help need not wait.

    return control_plane.main(settings)
