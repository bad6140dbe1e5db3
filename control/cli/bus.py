"""Owns the commands `tpctl bus …`: move a stopped data directory to Kafka, and back."""

from functools import partial
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from control.cli import columns
from control.cli.errors import Unreachable
from control.cli.session import Session, command, group
from control.cli.starting import ConfigFile, Partitions, TopicPrefix
from control.model.config import Config, load_config
from control.model.errors import BusUnavailable, ConfigError

Cluster = Annotated[
    str | None,
    typer.Argument(
        metavar="kafka://HOST:PORT,…", help="Where Kafka is. Default: what `tpctl up` would use."
    ),
]


def add_to(app: typer.Typer) -> None:
    """Register them."""
    bus = group("bus", "Move the jobs of a stopped control plane to Kafka, and back.", app)
    command(bus, "promote", example="tpctl bus promote kafka://kafka-1:9092")(promote)
    command(bus, "demote", example="tpctl bus demote kafka://kafka-1:9092")(demote)


def promote(
    session: Session,
    cluster: Cluster = None,
    topic_prefix: TopicPrefix = None,
    partitions: Partitions = None,
    config: ConfigFile = None,
) -> None:
    """Move the jobs of a stopped data directory to Kafka.

    Jobs that run go on at their workers meanwhile. Run it again if it was interrupted: it goes on
    where it was. The other settings come from where `tpctl up` takes them.
    """
    settings = _settings(session, cluster, topic_prefix, partitions, config)
    _carry_out(session, settings, back=False)


def demote(
    session: Session,
    cluster: Cluster = None,
    topic_prefix: TopicPrefix = None,
    partitions: Partitions = None,
    config: ConfigFile = None,
) -> None:
    """Move the jobs of a stopped data directory back from Kafka.

    All control planes on that cluster with that prefix must be stopped. Jobs that run go on at
    their workers meanwhile. Run it again if it was interrupted.
    """
    settings = _settings(session, cluster, topic_prefix, partitions, config)
    _carry_out(session, settings, back=True)


def _settings(
    session: Session,
    cluster: str | None,
    topic_prefix: str | None,
    partitions: int | None,
    file: Path | None,
) -> Config:
    """Put together as for `tpctl up`; raises `ConfigError`."""
    directory = session.world.data_dir
    flags: dict[str, str | float | bool | None] = {
        "data_dir": None if directory is None else str(directory),
        "bus": cluster,
        "topic_prefix": topic_prefix,
        "partitions": partitions,
    }
    settings = load_config(flags, session.world.environ, file)
    if settings.brokers is None:
        message = "say where Kafka is, such as kafka://kafka-1:9092"
        raise ConfigError(message)
    return settings


def _carry_out(session: Session, settings: Config, *, back: bool) -> None:
    from control.wiring import require_client  # noqa: PLC0415 - see `starting`.

    require_client(settings)
    from control import app, moving  # noqa: PLC0415

    app.log_to_stderr("warning")
    work = moving.demote if back else moving.promote
    try:
        moved = app.run_alone(partial(work, settings, app.this_world(), session.out.say))
    except BusUnavailable as error:
        raise Unreachable(str(error)) from error
    session.out.one(msgspec.to_builtins(moved), columns.MOVED, "bus")
    session.out.say(f"start it with: {moved.next}")
