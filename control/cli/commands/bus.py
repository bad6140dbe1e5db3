"""Owns the commands `tpctl bus …`: move a stopped data directory to Kafka, and back; and others."""

from functools import partial
from typing import Annotated

import msgspec
import typer

from control.cli.command_context import CommandContext, command, group
from control.cli.commands import dead_letters
from control.cli.commands.bus_settings import bus_settings
from control.cli.commands.up import ConfigFile, Partitions, TopicPrefix
from control.cli.errors import Unreachable
from control.cli.output import columns
from control.model.config import Config
from control.model.errors import BusUnavailable

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
    dead_letters.add_to(bus)
    command(bus, "demote", example="tpctl bus demote kafka://kafka-1:9092")(demote)


def promote(
    session: CommandContext,
    cluster: Cluster = None,
    topic_prefix: TopicPrefix = None,
    partitions: Partitions = None,
    config: ConfigFile = None,
) -> None:
    """Move the jobs of a stopped data directory to Kafka.

    Jobs that run go on at their workers meanwhile. Run it again if it was interrupted: it goes on
    where it was. The other settings come from where `tpctl up` takes them.
    """
    settings = bus_settings(session, cluster, topic_prefix, config, partitions)
    _carry_out(session, settings, back=False)


def demote(
    session: CommandContext,
    cluster: Cluster = None,
    topic_prefix: TopicPrefix = None,
    partitions: Partitions = None,
    config: ConfigFile = None,
) -> None:
    """Move the jobs of a stopped data directory back from Kafka.

    All control planes on that cluster with that prefix must be stopped. Jobs that run go on at
    their workers meanwhile. Run it again if it was interrupted.
    """
    settings = bus_settings(session, cluster, topic_prefix, config, partitions)
    _carry_out(session, settings, back=True)


def _carry_out(session: CommandContext, settings: Config, *, back: bool) -> None:
    from control.bus_migration import migrate  # noqa: PLC0415 - see `up`.
    from control.process import control_plane  # noqa: PLC0415 - see `up`.

    control_plane.log_to_stderr("warning")
    work = migrate.demote if back else migrate.promote
    try:
        moved = control_plane.run_alone(
            partial(work, settings, control_plane.this_world(), session.out.say)
        )
    except BusUnavailable as error:
        raise Unreachable(str(error)) from error
    session.out.one(msgspec.to_builtins(moved), columns.MOVED, "bus")
    session.out.say(f"start it with: {moved.next}")
