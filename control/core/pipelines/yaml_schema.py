"""Decides what YAML nodes mean: the core schema of YAML 1.2, aliases, and merge keys (`<<`)."""

import math
import re
from typing import Final, NoReturn

from control.core.pipelines.json_limits import bounded_int
from control.core.pipelines.problems import Findings
from control.core.pipelines.yaml_parser import Node
from control.model import limits
from control.model.errors import Invalid, Problem
from control.model.json_values import Json, Path, cut, show, write_path

_NULL: Final = re.compile(r"null|Null|NULL|~|")
_BOOL: Final = re.compile(r"(?P<true>true|True|TRUE)|false|False|FALSE")
_INT: Final = re.compile(r"(?P<ten>[-+]?[0-9]++)|0o(?P<eight>[0-7]++)|0x(?P<hex>[0-9a-fA-F]++)")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]++|[0-9]++(\.[0-9]*+)?)([eE][-+]?[0-9]++)?")
_NOT_FINITE: Final = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "null": (type(None),),
    "bool": (bool,),
    "int": (int,),
    "float": (float, int),
}

Entries = dict[str, tuple[Node, Node]]  # By key: the key's node, and its value's.


class YamlValues:
    """Turns one tree of nodes into a value; fills `lines` and `written` as it goes."""

    def __init__(
        self, lines: dict[Path, int], written: dict[Path, str], findings: Findings
    ) -> None:
        self._lines = lines
        self._written = written  # Numbers and the like, as they stand in the source.
        self._findings = findings
        self._nodes = 0
        self._entries_of: dict[Node, Entries] = {}

    def value(self, node: Node, path: Path) -> Json:
        """The value of a node that stands at `path`; raises Invalid where aliases grow too far."""
        self._lines.setdefault(path, node.line)
        self._count(node)
        if node.text is not None:
            return self._scalar(node, node.text, path)
        if len(path) >= limits.YAML_DEPTH_MAX:
            _stop(node, path, f"nested more than {limits.YAML_DEPTH_MAX} levels deep")
        if node.tag not in {"map", "seq"}:
            self._refuse_tag(node, path)
            return None
        if not node.is_mapping:
            return [self.value(item, (*path, index)) for index, item in enumerate(node.items)]
        found: dict[str, Json] = {}
        for key, (key_node, item) in self._entries(node, path, 0).items():
            self._lines[*path, key] = key_node.line
            found[key] = self.value(item, (*path, key))
        return found

    def _entries(self, node: Node, path: Path, depth: int) -> Entries:
        """A mapping's keys and values; those of `<<` count where there is no key of its own."""
        if node in self._entries_of:
            return self._entries_of[node]
        if depth > limits.YAML_DEPTH_MAX:
            _stop(node, path, f"more than {limits.YAML_DEPTH_MAX} merge keys inside each other")
        own: Entries = {}
        inherited: Entries = {}
        for key, item in node.pairs():
            if key.is_merge_key:
                for source in self._merge_sources(key, item, path):
                    for name, entry in self._entries(source, path, depth + 1).items():
                        self._count(source)
                        inherited.setdefault(name, entry)
                continue
            name_of_key = self._key(key, path)
            if name_of_key is None:
                continue
            if name_of_key in own:
                first = own[name_of_key][0].line
                message = f"the key {show(name_of_key)} stands here twice, first in line {first}"
                self._findings.add((*path, name_of_key), message, line=key.line)
            own.setdefault(name_of_key, (key, item))
        entries = own | {name: entry for name, entry in inherited.items() if name not in own}
        self._entries_of[node] = entries
        return entries

    def _merge_sources(self, key: Node, item: Node, path: Path) -> list[Node]:
        sources = [item] if item.is_mapping else item.items
        if item.text is not None or not all(source.is_mapping for source in sources):
            message = "<< takes a mapping, or a list of mappings"
            self._findings.add(path, message, line=key.line)
            return []
        return sources

    def _key(self, node: Node, path: Path) -> str | None:
        if node.text is None:
            self._findings.add(path, "a key must be text", line=node.line)
            return None
        key = self._scalar(node, node.text, path)
        if not isinstance(key, str):
            message = f"the key {cut(node.text) or 'null'} is not text"
            hint = f'put it in quotes: "{cut(node.text)}"'
            self._findings.add(path, message, hint, line=node.line)
            return None
        return key

    def _scalar(self, node: Node, text: str, path: Path) -> Json:
        if node.tag in {"str", "!"} or (node.tag is None and not node.plain):
            return text
        value = _resolve(text)
        if not isinstance(value, str):
            self._written[path] = text
        if node.tag is None:
            return value
        if node.tag not in _TYPES:
            self._refuse_tag(node, path)
        elif not isinstance(value, _TYPES[node.tag]):
            self._findings.add(path, f"{show(text)} is no {node.tag}", line=node.line)
        return value

    def _refuse_tag(self, node: Node, path: Path) -> None:
        message = f"the tag {show(node.tag)} is not part of the YAML core schema"
        self._findings.add(path, message, "leave the tag out", line=node.line)

    def _count(self, node: Node) -> None:
        self._nodes += 1
        if self._nodes > limits.YAML_NODES_MAX:
            _stop(node, (), f"more than {limits.YAML_NODES_MAX} values once aliases are expanded")


def _resolve(text: str) -> Json:
    """What a scalar without quotes or tag means. Too large numbers stay too large to pass."""
    if _NULL.fullmatch(text):
        return None
    if match := _BOOL.fullmatch(text):
        return match["true"] is not None
    if match := _INT.fullmatch(text):
        for group, base in (("eight", 8), ("hex", 16)):
            if match[group] is not None:
                return bounded_int(match[group], base)
        return bounded_int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return math.nan if _NOT_FINITE.fullmatch(text) else text


def _stop(node: Node, path: Path, message: str) -> NoReturn:
    raise Invalid((Problem(path=write_path(path), message=message, line=node.line),))
