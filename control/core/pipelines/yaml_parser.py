"""Reads YAML text into a tree of nodes, and refuses what is no single, bounded document.

PyYAML's own composer recurses once per level; this one counts levels and nodes as it goes, so
that no text can cost more stack or memory than the limits say.
"""

from collections.abc import Iterator
from typing import Final

import yaml

from control.model import limits
from control.model.errors import Invalid, Problem

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_STANDARD_TAG: Final = "tag:yaml.org,2002:"
_NOT_PLAIN_STARTS: Final = "@`%*&!|>"


class Node:
    """A scalar (`text`), a list (`items`), or a mapping (`items`: keys and values in turn)."""

    __slots__ = ("closed", "items", "line", "plain", "tag", "text")

    def __init__(self, *, line: int, tag: str | None, text: str | None, plain: bool) -> None:
        self.line = line
        self.tag = tag  # The short name of a standard tag (`str`), else as written.
        self.text = text
        self.plain = plain  # A scalar without quotes.
        self.items: list[Node] = []
        self.closed = text is not None

    @property
    def is_mapping(self) -> bool:
        return self.text is None and self.tag == "map"

    @property
    def is_merge_key(self) -> bool:
        return self.plain and self.text == "<<" and self.tag is None

    def pairs(self) -> Iterator[tuple["Node", "Node"]]:
        """A mapping's keys with their values."""
        return zip(self.items[::2], self.items[1::2], strict=True)


def read_nodes(text: str) -> Node:
    """Read the only document of `text`; raises Invalid."""
    builder = _Builder()
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.take(event)
    except yaml.YAMLError as error:
        raise Invalid((_syntax_problem(text, error),)) from error
    except (ValueError, OverflowError) as error:
        # The Python scanner lets impossible escapes such as "\UFFFFFFFF" through to chr().
        raise Invalid((Problem(path="", message=f"not valid YAML: {error}"),)) from error
    if builder.root is None:
        raise _invalid("the document is empty", None)
    return builder.root


class _Builder:
    """Puts nodes together from the parser's events."""

    def __init__(self) -> None:
        self.root: Node | None = None
        self._documents = 0
        self._nodes = 0
        self._open: list[Node] = []
        self._anchors: dict[str, Node] = {}

    def take(self, event: yaml.Event) -> None:
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                hint = "send one pipeline at a time, without a further ---"
                raise _invalid("a second document", line, hint)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._open.pop().closed = True
        elif isinstance(event, yaml.AliasEvent):
            self._add(self._target_of(event, line), line)
        elif isinstance(event, yaml.NodeEvent):
            node = _node_of(event, line)
            self._add(node, line)
            if event.anchor is not None:
                self._anchors[event.anchor] = node
            if not node.closed:
                self._open.append(node)
                if len(self._open) > limits.YAML_DEPTH_MAX:
                    raise _invalid(f"nested more than {limits.YAML_DEPTH_MAX} levels deep", line)

    def _add(self, node: Node, line: int) -> None:
        self._nodes += 1
        if self._nodes > limits.YAML_NODES_MAX:
            raise _invalid(f"more than {limits.YAML_NODES_MAX} values", line)
        if self._open:
            self._open[-1].items.append(node)
        else:
            self.root = node

    def _target_of(self, event: yaml.AliasEvent, line: int) -> Node:
        node = self._anchors.get(event.anchor or "")
        if node is None:
            hint = f'text that starts with * must stand in quotes: "*{event.anchor}"'
            raise _invalid(f"the alias *{event.anchor} names nothing", line, hint)
        if not node.closed:
            raise _invalid(f"the alias *{event.anchor} stands inside what it names", line)
        return node


def _node_of(event: yaml.NodeEvent, line: int) -> Node:
    # The event classes of the C parser and of PyYAML's stubs agree on these attributes only.
    tag: str | None = getattr(event, "tag", None)
    if tag is not None and tag.startswith(_STANDARD_TAG):
        tag = tag.removeprefix(_STANDARD_TAG)
    if isinstance(event, yaml.ScalarEvent):
        plain = event.style in {None, ""}
        return Node(line=line, tag=tag, text=event.value, plain=plain)
    default = "map" if isinstance(event, yaml.MappingStartEvent) else "seq"
    kept = tag if tag is not None and tag != "!" else default
    if kept in {"map", "seq"} and kept != default:
        raise _invalid(f"the tag !!{kept} does not fit what follows", line)
    return Node(line=line, tag=kept, text=None, plain=False)


def _invalid(message: str, line: int | None, hint: str | None = None) -> Invalid:
    return Invalid((Problem(path="", message=message, line=line, hint=hint),))


def _syntax_problem(text: str, error: yaml.YAMLError) -> Problem:
    if not isinstance(error, yaml.MarkedYAMLError):
        reason = getattr(error, "reason", None) or "it cannot be read"
        position = getattr(error, "position", None)
        line = text.count("\n", 0, position) + 1 if isinstance(position, int) else None
        return Problem(path="", message=f"not valid YAML: {reason}", line=line)
    words = [part for part in (error.context, error.problem) if part]
    mark = error.problem_mark or error.context_mark
    return Problem(
        path="",
        message=f"not valid YAML: {', '.join(words)}",
        line=mark.line + 1 if mark else None,
        hint=_hint(text, error, mark.line, mark.column) if mark else None,
    )


def _hint(text: str, error: yaml.MarkedYAMLError, line: int, column: int) -> str | None:
    lines = text.splitlines()
    source = lines[line] if line < len(lines) else ""
    if error.context == "while scanning an alias":
        return 'a text that starts with * must stand in quotes, for example "*/5 * * * *"'
    if "\t" in source[: column + 1]:
        return "indent with spaces, not tabs"
    if source[column : column + 1] and source[column] in _NOT_PLAIN_STARTS:
        return f"a text that starts with {source[column]} must stand in quotes"
    if "${{" in source:
        return "inside { } or [ ] a text with a template must stand in quotes"
    if error.problem and "mapping values are not allowed" in error.problem:
        return 'a text with ": " in it must stand in quotes; or the indentation is wrong'
    return None
