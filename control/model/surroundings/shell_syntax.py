"""Owns how a shell reads a command: where each template of it stands, as tree-sitter-bash sees it.

Each template is replaced by the expansion of a variable, so that its value never is part of what a
shell parses. What the syntax decides is only how that expansion has to be quoted, and where even
the expanded value would be evaluated. A wrong reading therefore costs quoting, not safety.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Final, TypeAlias

import tree_sitter
import tree_sitter_bash
from tree_sitter import Node

from control.model.surroundings.programs import Word

Span: TypeAlias = tuple[int, int]
"""Start and end of an expansion that stands for a template, in bytes of the parsed command."""

_EXPANDED: Final = frozenset(
    ("expansion", "simple_expansion", "command_substitution", "process_substitution")
)


def parse(command: bytes) -> Node:
    """The syntax tree of a command, with whatever could not be read (see `first_error`)."""
    return _parser().parse(command).root_node


@cache
def _parser() -> tree_sitter.Parser:
    return tree_sitter.Parser(tree_sitter.Language(tree_sitter_bash.language()))


def first_error(root: Node) -> tuple[int, int] | None:
    """Line and column, from 1, of the first thing that could not be read; None: all could."""
    if not root.has_error:
        return None
    wrong = (node for node in descendants(root) if node.is_error or node.is_missing)
    row, column = min((node.start_point for node in wrong), default=root.start_point)
    return row + 1, column + 1


def ancestors(node: Node) -> Iterator[tuple[Node, Node]]:
    """Each node around a node, innermost first, with its child on the way."""
    child, parent = node, node.parent
    while parent is not None:
        yield parent, child
        child, parent = parent, parent.parent


def words_of(command: Node, templates: Sequence[Span]) -> list[tuple[Node, Word]]:
    """The words of a simple command, without assignments before it, and redirections."""
    return [
        (child, word_of(child, templates))
        for child in command.named_children
        if child.type not in {"variable_assignment", "comment"}
        and not child.type.endswith("redirect")
    ]


def word_of(node: Node, templates: Sequence[Span]) -> Word:
    """One word, as far as it is known before a shell runs."""
    text = node.text or b""
    first = min(
        (start for start, _ in templates if node.start_byte <= start < node.end_byte), default=None
    )
    if first is not None:
        return Word(None, _unquoted(text[: first - node.start_byte]))
    if any(inner.type in _EXPANDED for inner in descendants(node)):
        return Word(None)
    return Word(_unquoted(text))


def descendants(node: Node) -> Iterator[Node]:
    """A node and all nodes in it."""
    waiting = [node]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += node.children


def _unquoted(text: bytes) -> str:
    """The text without its quotes: enough to know a program or an option by its name."""
    return "".join(char for char in text.decode(errors="replace") if char not in "'\"\\")
