"""Decides which bytes are an acceptable YAML or JSON document, and reads them as plain values.

YAML is read by the core schema of YAML 1.2: only `true` and `false` are booleans, octal numbers
start with `0o`, times stay text, keys are text. What JSON cannot say is refused.
"""

import json
import re
from collections.abc import Mapping
from typing import Final

import msgspec

from control.core.pipelines.json_limits import bounded_int, check_plain
from control.core.pipelines.problems import Findings
from control.core.pipelines.yaml_parser import read_nodes
from control.core.pipelines.yaml_schema import YamlValues
from control.model import limits
from control.model.errors import Invalid, Problem
from control.model.json_values import Json, Path

# Strings are matched so that brackets in them do not count; an unfinished one reaches to the end.
_JSON_NESTING: Final = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """A document's value, and the line (from 1) of each place in it; JSON has no lines.

    `written`: what YAML takes for a number, true, or false, as it stands there (0644, 1.10).
    """

    value: Json
    lines: Mapping[Path, int]
    written: Mapping[Path, str] = {}


def read_yaml(body: bytes) -> Document:
    """Read one YAML document; raises Invalid with every problem found."""
    root = read_nodes(_text_of(body))
    lines: dict[Path, int] = {}
    written: dict[Path, str] = {}
    findings = Findings(lines)
    value = YamlValues(lines, written, findings).value(root, ())
    check_plain(value, (), findings)
    findings.raise_if_any()
    return Document(value=value, lines=lines, written=written)


def read_json(body: bytes) -> Document:
    """Read one JSON document; raises Invalid with every problem found."""
    text = _text_of(body)
    _refuse_deep_json(text)
    repeated: list[tuple[dict[str, Json], str]] = []  # Keeps the objects, so that ids stay theirs.

    def take_pairs(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
        taken: dict[str, Json] = {}
        for key, value in pairs:
            if key in taken:
                repeated.append((taken, key))
            taken[key] = value
        return taken

    try:
        value: Json = json.loads(text, object_pairs_hook=take_pairs, parse_int=bounded_int)
    except json.JSONDecodeError as error:
        message = f"not valid JSON: {error.msg} (column {error.colno})"
        raise Invalid((Problem(path="", message=message, line=error.lineno),)) from error
    keys_twice: dict[int, list[str]] = {}
    for holder, key in repeated:
        keys_twice.setdefault(id(holder), []).append(key)
    findings = Findings()
    check_plain(value, (), findings, keys_twice)
    findings.raise_if_any()
    return Document(value=value, lines={})


def _text_of(body: bytes) -> str:
    if len(body) > limits.PIPELINE_BYTES_MAX:
        message = f"{len(body)} bytes, at most {limits.PIPELINE_BYTES_MAX} are allowed"
        raise Invalid((Problem(path="", message=message),))
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        raise Invalid((Problem(path="", message="not valid UTF-8", line=line),)) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise Invalid((Problem(path="", message="a NUL byte in the text", line=line),))
    return text


def _refuse_deep_json(text: str) -> None:
    """The standard parser recurses; count its levels before it does."""
    depth = 0
    for match in _JSON_NESTING.finditer(text):
        if match[0] in {"[", "{"}:
            depth += 1
        elif match[0] in {"]", "}"}:
            depth -= 1
        if depth > limits.YAML_DEPTH_MAX:
            line = text.count("\n", 0, match.start()) + 1
            message = f"nested more than {limits.YAML_DEPTH_MAX} levels deep"
            raise Invalid((Problem(path="", message=message, line=line),))
