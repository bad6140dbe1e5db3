"""Makes the AsyncAPI 3 document of the topics: `python -m control.bus.asyncapi`.

What is written to a topic, and with which headers, follows from the code that reads and writes it.
"""

import inspect
import sys
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from control.core.records.foreign import CARRIES
from control.core.records.headers import IDS
from control.model.bus.details import NotificationDetails, QueryDetails
from control.model.bus.messages import Finished
from control.model.bus.reports import SCHEMA
from control.model.json_values import Json
from control.model.names import Topic

_SCHEMAS: Final = "#/components/schemas/{name}"
_PREFIX: Final = "topicPrefix"
_DETAILS: Final[Mapping[Topic, type[msgspec.Struct]]] = MappingProxyType(
    {
        Topic.QUERY_TASK_RUN_RESULTS: QueryDetails,
        Topic.NOTIFICATION_TASK_RUN_RESULTS: NotificationDetails,
    }
)
_ABOUT: Final[Mapping[Topic, str]] = MappingProxyType(
    {
        Topic.TASK_RUNS: "Jobs that may run. The balancer reads it.",
        Topic.TASK_RUNS_LOAD_BALANCED: (
            "Jobs with the partition that they were placed in. The dispatchers read it."
        ),
        Topic.TASK_RUN_EVENTS: "What happens to attempts before they end. The trigger reads it.",
        Topic.TASK_RUN_RESULTS: (
            "How jobs ended, one record for each attempt. The trigger and the statistics read it; "
            "so may others."
        ),
        Topic.QUERY_TASK_RUN_RESULTS: (
            "The results of the kind Query once more, with `details`: connection, statement, "
            "columns, rows. For others; Taskplane does not read it."
        ),
        Topic.NOTIFICATION_TASK_RUN_RESULTS: (
            "The results of the kind Notification once more, with `details`: target, title, size, "
            "whether it was delivered. For others; Taskplane does not read it."
        ),
        Topic.TASK_RUN_LOGS: "What jobs print. The API's process stores it.",
        Topic.TASK_COMMANDS: "Orders: cancel, reorder, drain, and changes of settings.",
        Topic.TASK_NEWS: "What balancer, dispatchers, and statistics tell each other.",
        Topic.TASK_DEAD_LETTERS: (
            "Records that could not be used, with the reason. `tpctl bus dead-letters` lists them."
        ),
    }
)


def document() -> dict[str, Json]:
    """All topics, their messages, and the JSON Schemas of those."""
    types = sorted({each for carried in CARRIES.values() for each in carried}, key=_tag)
    _, schemas = msgspec.json.schema_components([*types, *_DETAILS.values()], ref_template=_SCHEMAS)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Taskplane's topics",
            "version": str(SCHEMA),
            "description": (
                "Values are JSON with `schema`, `type`, and ids; times are milliseconds since 1970 "
                "in UTC, durations seconds. The key is the id of the run. Readers ignore fields "
                "that they do not know; a record with another `schema` is set aside."
            ),
        },
        "defaultContentType": "application/json",
        "channels": {topic.value: _channel(topic) for topic in CARRIES},
        "operations": {
            f"send_{topic}": {
                "action": "send",
                "channel": {"$ref": f"#/channels/{topic}"},
                "summary": _ABOUT[topic],
            }
            for topic in CARRIES
        },
        "components": {
            "messages": {
                **{_tag(each): _message(each) for each in types},
                **{topic.value: _with_details(topic) for topic in _DETAILS},
            },
            "schemas": schemas,
        },
    }


def _channel(topic: Topic) -> dict[str, Json]:
    return {
        "address": f"{{{_PREFIX}}}{topic}",
        "description": _ABOUT[topic],
        "parameters": {
            _PREFIX: {"description": "What `tpctl up --topic-prefix` says, or nothing."}
        },
        "messages": {
            name: {"$ref": f"#/components/messages/{name}"}
            for name in ([topic.value] if topic in _DETAILS else sorted(map(_tag, CARRIES[topic])))
        },
    }


def _message(of: type[msgspec.Struct]) -> dict[str, Json]:
    return {
        "name": _tag(of),
        "summary": inspect.cleandoc(of.__doc__ or ""),
        "headers": {
            "type": "object",
            "properties": {
                "schema": {"type": "integer", "const": SCHEMA},
                "type": {"type": "string", "const": _tag(of)},
                **_ids(of.__struct_fields__),
            },
            "required": ["schema", "type"],
        },
        "payload": {"$ref": _SCHEMAS.format(name=of.__name__)},
    }


def _with_details(topic: Topic) -> dict[str, Json]:
    """A result on its kind's own topic."""
    details: Json = {"$ref": _SCHEMAS.format(name=_DETAILS[topic].__name__)}
    payload: Json = {
        "allOf": [
            {"$ref": _SCHEMAS.format(name=Finished.__name__)},
            {"type": "object", "properties": {"details": details}},
        ]
    }
    return _message(Finished) | {"summary": _ABOUT[topic], "payload": payload}


def _ids(fields: Iterable[str]) -> dict[str, Json]:
    """Headers with ids, which a placed job has from the job in it."""
    names = IDS if "job" in fields else [name for name in IDS if name in fields]
    return {name: {"type": "integer"} for name in names}


def _tag(of: type[msgspec.Struct]) -> str:
    return str(of.__struct_config__.tag)


def as_text() -> str:
    """The document as it stands in docs/asyncapi.json."""
    return msgspec.json.format(msgspec.json.encode(document()), indent=2).decode() + "\n"


if __name__ == "__main__":
    sys.stdout.write(as_text())
