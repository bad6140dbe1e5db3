"""Decides what a record's headers say, so that others can pick records without reading them."""

from functools import cache

from control.model.bus.messages import Message, Placed
from control.model.bus.reports import SCHEMA

Headers = list[tuple[str, str | bytes | None]]  # As the client of Kafka takes them.
IDS = ("run_id", "job_id", "attempt")


def headers_of(message: Message) -> Headers:
    """Schema, type, and the ids of what it is about."""
    about = message.job if isinstance(message, Placed) else message
    begin, names = _shape(type(message), type(about))
    return [*begin, *((name, b"%d" % getattr(about, name)) for name in names)]


@cache
def _shape(kind: type[Message], about: type[Message]) -> tuple[Headers, tuple[str, ...]]:
    """What all messages of a type have in common, and which ids they have."""
    tag = str(kind.__struct_config__.tag)
    begin: Headers = [("schema", b"%d" % SCHEMA), ("type", tag.encode())]
    return begin, tuple(name for name in IDS if name in about.__struct_fields__)
