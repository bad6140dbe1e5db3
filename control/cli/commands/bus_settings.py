"""Decides on which Kafka the commands `tpctl bus …` work: where `tpctl up` would find it."""

from pathlib import Path

from control.cli.command_context import CommandContext
from control.model.config import Config, load_config
from control.model.errors import ConfigError


def bus_settings(
    session: CommandContext,
    bus: str | None,
    topic_prefix: str | None,
    file: Path | None,
    partitions: int | None = None,
) -> Config:
    """Put together as for `tpctl up`; raises `ConfigError`, also without the client of Kafka."""
    from control.process.bus_selection import require_client  # noqa: PLC0415 - see `up`.

    directory = session.world.data_dir
    flags: dict[str, str | float | bool | None] = {
        "data_dir": None if directory is None else str(directory),
        "bus": bus,
        "topic_prefix": topic_prefix,
        "partitions": partitions,
    }
    settings = load_config(flags, session.world.environ, file)
    if settings.brokers is None:
        message = "say where Kafka is, such as kafka://kafka-1:9092"
        raise ConfigError(message)
    require_client(settings)
    return settings
