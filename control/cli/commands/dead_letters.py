"""Owns the commands `tpctl bus dead-letters …`: show, replay, or drop records set aside."""

from typing import TYPE_CHECKING, Annotated

import typer

from control.cli.command_context import CommandContext, command, group
from control.cli.commands.bus_settings import bus_settings
from control.cli.commands.up import BusAddress, ConfigFile, TopicPrefix
from control.cli.errors import Unreachable, UsageError
from control.cli.output import columns
from control.model.errors import BusUnavailable, NotFound
from control.model.json_values import Json
from control.model.times import to_rfc3339

if TYPE_CHECKING:  # The client of Kafka is an extra.
    from control.bus.kafka.dead_letters import DeadLetters, SetAside

Ids = Annotated[list[int] | None, typer.Argument(metavar="ID…", help="As `list` shows them.")]
All = Annotated[bool, typer.Option("--all", help="All that are left.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def add_to(bus: typer.Typer) -> None:
    """Register them."""
    summary = "Records on Kafka that could not be used, and were set aside."
    letters = group("dead-letters", summary, bus)
    command(letters, "list", example="tpctl bus dead-letters list --bus kafka://kafka-1:9092")(
        list_letters
    )
    command(letters, "show", example="tpctl bus dead-letters show 12")(show_letter)
    command(letters, "replay", example="tpctl bus dead-letters replay 12 14")(replay_letters)
    command(letters, "drop", example="tpctl bus dead-letters drop --all")(drop_letters)


def list_letters(
    session: CommandContext,
    bus: BusAddress = None,
    topic_prefix: TopicPrefix = None,
    config: ConfigFile = None,
) -> None:
    """List the records that were set aside, and are neither dropped nor replayed.

    Needs no control plane, but the settings it has: they come from where `tpctl up` takes them.
    """
    letters = _read(_letters(session, bus, topic_prefix, config))
    rows = [_row(each) for each in letters]
    session.out.list(rows, columns.DEAD_LETTERS, "id", "no record was set aside")


def show_letter(
    session: CommandContext,
    letter: Annotated[int, typer.Argument(metavar="ID")],
    bus: BusAddress = None,
    topic_prefix: TopicPrefix = None,
    config: ConfigFile = None,
) -> None:
    """Show one, with what is left of its text."""
    letters = _read(_letters(session, bus, topic_prefix, config))
    for each in letters:
        if each.id == letter:
            session.out.details(_row(each), columns.DEAD_LETTER, "id")
            return
    message = f"there is no dead letter {letter}"
    raise NotFound(message)


def replay_letters(
    session: CommandContext,
    ids: Ids = None,
    *,
    all_of_them: All = False,
    bus: BusAddress = None,
    topic_prefix: TopicPrefix = None,
    config: ConfigFile = None,
) -> None:
    """Put records on their topics again, all or none, such as after an upgrade.

    One that this version cannot use either is refused.
    """
    letters = _letters(session, bus, topic_prefix, config)
    chosen = _chosen(letters, ids, everything=all_of_them)
    try:
        letters.replay(chosen)
    except BusUnavailable as error:
        raise Unreachable(str(error)) from error
    session.out.say(f"put on their topics again: {len(chosen)}")


def drop_letters(
    session: CommandContext,
    ids: Ids = None,
    *,
    all_of_them: All = False,
    yes: Yes = False,
    bus: BusAddress = None,
    topic_prefix: TopicPrefix = None,
    config: ConfigFile = None,
) -> None:
    """Be done with records that were set aside: they are listed no more, and never replayed."""
    session.require_answer(yes=yes)
    letters = _letters(session, bus, topic_prefix, config)
    chosen = _chosen(letters, ids, everything=all_of_them)
    session.confirm(f"drop {len(chosen)} records that were set aside?", yes=yes)
    try:
        letters.drop(chosen)
    except BusUnavailable as error:
        raise Unreachable(str(error)) from error
    session.out.say(f"dropped: {len(chosen)}")


def _chosen(letters: "DeadLetters", ids: list[int] | None, *, everything: bool) -> list[int]:
    if bool(ids) == everything:
        message = "say which: their ids, or --all"
        raise UsageError(message)
    return ids or [each.id for each in _read(letters)]


def _read(letters: "DeadLetters") -> "list[SetAside]":
    try:
        return letters.left()
    except BusUnavailable as error:
        raise Unreachable(str(error)) from error


def _letters(
    session: CommandContext, bus: str | None, topic_prefix: str | None, config: ConfigFile
) -> "DeadLetters":
    settings = bus_settings(session, bus, topic_prefix, config)
    from control.bus.kafka.client import Cluster  # noqa: PLC0415 - The extra.
    from control.bus.kafka.dead_letters import DeadLetters  # noqa: PLC0415

    cluster = Cluster(
        servers=settings.brokers or "",
        member="operator",
        prefix=settings.topic_prefix,
        properties=settings.kafka,
    )
    cluster.check()
    return DeadLetters(cluster)


def _row(aside: "SetAside") -> dict[str, Json]:
    letter = aside.letter
    return {
        "id": aside.id,
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "at": to_rfc3339(letter.at_ms),
        "key": letter.key,
        "error": letter.error,
        "bytes": letter.size or None,
        "encoding": letter.encoding,
        "value": letter.value,
    }
