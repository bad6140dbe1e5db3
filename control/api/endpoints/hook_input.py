"""Decides which input a run gets from the body that a hook received: JSON, or a form's fields."""

from typing import Final
from urllib.parse import parse_qsl

import msgspec
from msgspec import Raw

from control.api.http.problems import Malformed, one
from control.api.http.request import check_input, decode
from control.model import limits

CLOUD_EVENT: Final = "application/cloudevents+json"
FORM: Final = "application/x-www-form-urlencoded"
_ANY: Final = msgspec.json.Decoder(Raw)


def hook_input(media: str, body: bytes) -> Raw:
    """The body as the run's input; raises `Malformed`, `Invalid`.

    JSON stays as it is, and no body is null. A form is an object of its fields: a text each, a
    list of texts for a name that comes several times.
    """
    if not body:
        return Raw(b"null")
    if media == FORM:
        return check_input(Raw(msgspec.json.encode(_fields(body))), "")
    return check_input(decode(body, _ANY), "")


def _fields(body: bytes) -> dict[str, str | list[str]]:
    if len(body) > limits.INPUT_BYTES_MAX:
        raise one("", f"{len(body)} bytes, at most {limits.INPUT_BYTES_MAX} are allowed")
    try:
        pairs = parse_qsl(
            body.decode("utf-8"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=limits.FORM_FIELDS_MAX,
        )
    except UnicodeDecodeError as error:
        message = "the form is not valid UTF-8"
        raise Malformed(message) from error
    except ValueError as error:
        raise one("", f"at most {limits.FORM_FIELDS_MAX} fields are allowed in a form") from error
    fields: dict[str, str | list[str]] = {}
    for name, value in pairs:
        before = fields.get(name)
        if before is None:
            fields[name] = value
        elif isinstance(before, list):
            before.append(value)
        else:
            fields[name] = [before, value]
    return fields
