"""Makes the OpenAPI 3.1 document from the table of operations: what is served is what is written.

JSON Schema comes from msgspec, whose Structs also decode and encode what is described.
"""

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from control.api.auth.permissions import ROLES
from control.api.http.problems import MEDIA as PROBLEM
from control.api.http.problems import WORDS, ProblemDetails
from control.api.http.request import JSON, KEY_PATTERN, Operation
from control.model import limits
from control.model.pipelines import NAME_PATTERN

Schema = dict[str, Any]
_PARAMETER: Final = re.compile(r"\{(\w+)\}")
_ID_MAX: Final = 2**63 - 1
_TEXTS: Final[dict[str, Schema]] = {
    "name": {"type": "string", "pattern": NAME_PATTERN, "examples": ["nightly-report"]},
    "client_id": {"type": "string", "minLength": 1, "maxLength": 128, "examples": ["reports"]},
    "worker_id": {"type": "string", "minLength": 1, "maxLength": 128, "examples": ["runner-1"]},
    "token": {"type": "string", "minLength": 1, "maxLength": 256, "examples": ["c2VjcmV0"]},
}
_RETRIED: Final = frozenset({429, 503})


def document(operations: Sequence[Operation], version: str) -> bytes:
    """The document as JSON."""
    bodies = [each.body for each in operations if each.body is not None]
    answers = [each.answer for each in operations if each.answer is not None]
    queries = [each.query for each in operations if each.query is not None]
    types = list(dict.fromkeys([*bodies, *answers, *queries, ProblemDetails]))
    found, components = msgspec.json.schema_components(
        types, ref_template="#/components/schemas/{name}"
    )
    schemas = dict(zip(types, found, strict=True))
    paths: dict[str, dict[str, Schema]] = {}
    for each in operations:
        paths.setdefault(each.path, {})[each.method.lower()] = _operation(each, schemas, components)
    for query in dict.fromkeys(queries):
        components.pop(query.__name__, None)  # They are spelled out as parameters.
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "Taskplane",
                "version": version,
                "summary": "A control plane for pipelines of jobs.",
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "servers": [{"url": "/"}],
            "security": [{"basic": []}],
            "tags": [{"name": tag} for tag in dict.fromkeys(each.tag for each in operations)],
            "paths": paths,
            "components": {
                "schemas": components,
                "securitySchemes": {
                    "basic": {
                        "type": "http",
                        "scheme": "basic",
                        "description": "client_id and client_secret",
                    }
                },
            },
        }
    )


def _operation(
    operation: Operation, schemas: dict[Any, Schema], components: dict[str, Schema]
) -> Schema:
    roles = ROLES[operation.method, operation.path]
    written: Schema = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": [operation.tag],
        "parameters": _parameters(operation, components),
        "responses": _responses(operation, schemas, public=roles is None),
    }
    if roles is None:
        written["security"] = []
    else:
        written["description"] = f"Roles: {', '.join(sorted(roles))}."
    if operation.body is not None:
        schema = schemas[operation.body]
        written["requestBody"] = {
            "required": operation.body_needed,
            "content": {media: {"schema": schema} for media in operation.body_media},
        }
    return written


def _parameters(operation: Operation, components: dict[str, Schema]) -> list[Schema]:
    found: list[Schema] = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": _TEXTS.get(
                name, {"type": "integer", "minimum": 0, "maximum": _ID_MAX, "examples": [4711]}
            ),
        }
        for name in _PARAMETER.findall(operation.path)
    ]
    if operation.query is not None:
        properties = components[operation.query.__name__]["properties"]
        found += [_query_parameter(name, schema) for name, schema in properties.items()]
    if operation.idempotent:
        found.append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "description": "The same key with the same request gives the same run for 24 h.",
                "schema": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": limits.IDEMPOTENCY_KEY_CHARS_MAX,
                    "pattern": KEY_PATTERN,
                },
            }
        )
    return found


def _query_parameter(name: str, schema: Schema) -> Schema:
    # A parameter that is left out is null inside; `null` cannot be written in a URL.
    plain = next((each for each in schema.get("anyOf", ()) if each.get("type") != "null"), schema)
    plain = {key: value for key, value in plain.items() if not (key == "default" and value is None)}
    description = plain.pop("description", "")
    return {
        "name": name,
        "in": "query",
        "required": False,
        "description": description,
        "schema": plain,
    }


def _responses(
    operation: Operation, schemas: dict[Any, Schema], *, public: bool
) -> dict[str, Schema]:
    found: dict[str, Schema] = {}
    for status in (operation.status, *operation.also):
        body: Schema = {"description": "Done." if operation.answer is None else "As asked."}
        if operation.answer is str:
            body["content"] = {operation.media.partition(";")[0]: {"schema": {"type": "string"}}}
        elif operation.answer is not None and status != 101:  # noqa: PLR2004 - no body follows.
            body["content"] = {JSON: {"schema": schemas[operation.answer]}}
        found[str(status)] = body
    errors = {*operation.errors, 500, 503} | (set() if public else {401, 403})
    for status in sorted(errors - {operation.status, *operation.also}):
        found[str(status)] = _error(status, schemas)
    return found


def _error(status: int, schemas: dict[Any, Schema]) -> Schema:
    written: Schema = {
        "description": WORDS[status],
        "content": {PROBLEM: {"schema": schemas[ProblemDetails]}},
    }
    if status in _RETRIED:
        written["headers"] = {
            "Retry-After": {
                "description": "Seconds to wait before the next try.",
                "required": True,
                "schema": {"type": "integer", "minimum": 0},
            }
        }
    elif status == 401:  # noqa: PLR2004 - as the table in problems.py says it.
        written["headers"] = {"WWW-Authenticate": {"required": True, "schema": {"type": "string"}}}
    return written
