"""Owns how a shell reads a command: where each template of it stands, as tree-sitter-bash sees it.

Each template is replaced by the expansion of a variable, so that its value never is part of what a
shell parses. What the syntax decides is how that expansion has to be quoted, and where even the
expanded value would be evaluated. What cannot be read is refused.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Final, TypeAlias

import tree_sitter
import tree_sitter_bash
from tree_sitter import Node

from control.model.surroundings.programs import Word
from control.model.templates import Reference, variable_name

Span: TypeAlias = tuple[int, int]
"""Start and end of an expansion that stands for a template, in bytes of the parsed command."""

_EXPANDED: Final = frozenset(
    ("expansion", "simple_expansion", "command_substitution", "process_substitution")
)
_REDIRECTS: Final = frozenset(("file_redirect", "heredoc_redirect", "herestring_redirect"))
_NO_WORDS: Final = frozenset(
    ("variable_assignment", "comment", "file_descriptor", "heredoc_start", "heredoc_body",
     "heredoc_content", "heredoc_end", "pipeline", *_REDIRECTS)
)  # fmt: skip
# A delimiter whose quotes the parser reads as a shell does: none, or around all of it.
_DELIMITER: Final = re.compile(rb"[\w.-]+|'[\w.-]+'|\"[\w.-]+\"|\\[\w.-]+")


# A line that goes on inside a word: the parser ends the word there, a shell does not.
_CONTINUED: Final = re.compile(rb"[^\s\\](?:\\\\)*\\\n[^\s]")


class Syntax:
    """The syntax tree of a command, with an expansion for each of its templates."""

    def __init__(self, text: str, templates: Sequence[Reference]) -> None:
        source, self.spans = _with_expansions(text, templates)
        self.root = _parser().parse(source).root_node
        # The parser loses the first blanks or backslash of a here-document: give it another first.
        starts = [node for node in descendants(self.root) if node.type == "heredoc_start"]
        fillers = [at for each in starts if (at := _body_start(source, each)) is not None]
        if fillers:
            source, self.spans = _filled(source, self.spans, sorted(fillers))
            self.root = _parser().parse(source).root_node
        self._source = source
        self._words: dict[int, tuple[list[Word], dict[int, int]]] = {}

    def first_error(self) -> tuple[int, int] | None:
        """Line and column, from 1, of the first thing that cannot be read; None: all can."""
        continued = _CONTINUED.search(self._source)
        if continued is not None:
            line = self._source.count(b"\n", 0, continued.start()) + 1
            return line, continued.start() - self._source.rfind(b"\n", 0, continued.start())
        wrong = list(_heredocs_misread(self._heredocs()))
        if self.root.has_error:
            wrong += [node for node in descendants(self.root) if node.is_error or node.is_missing]
        if not wrong and not self.root.has_error:
            return None
        row, column = min((node.start_point for node in wrong), default=self.root.start_point)
        return row + 1, column + 1

    def node_of(self, span: Span) -> Node | None:
        """The smallest node around a template's expansion: that itself, where shells expand it."""
        return self.root.descendant_for_byte_range(*span)

    def words_of(self, command: Node) -> tuple[list[Word], dict[int, int]]:
        """The words of a simple command, and the place of each by its node's id.

        Words may stand between and behind redirections, which are none.
        """
        known = self._words.get(command.id)
        if known is None:
            nodes = [node for node in command.named_children if node.type not in _NO_WORDS]
            around = [command, command.parent] if command.parent is not None else [command]
            for parent in around:
                if parent is command or parent.type == "redirected_statement":
                    for redirect in parent.named_children:
                        nodes += _words_behind(redirect)
            nodes.sort(key=lambda node: node.start_byte)
            words = [word_of(node, self.spans) for node in nodes]
            known = words, {node.id: place for place, node in enumerate(nodes)}
            self._words[command.id] = known
        return known

    def _heredocs(self) -> list[Node]:
        return [node for node in descendants(self.root) if node.type == "heredoc_redirect"]


def owner_of(redirect: Node) -> Node | None:
    """The command, or compound command, that a redirection belongs to."""
    parent = redirect.parent
    if parent is not None and parent.type == "redirected_statement":
        return parent.child_by_field_name("body")
    return parent


def is_behind(redirect: Node, child: Node) -> bool:
    """Whether a word stands behind a redirection, and belongs to its command."""
    return any(node == child for node in _words_behind(redirect))


def ancestors(node: Node) -> Iterator[tuple[Node, Node]]:
    """Each node around a node, innermost first, with its child on the way."""
    child, parent = node, node.parent
    while parent is not None:
        yield parent, child
        child, parent = parent, parent.parent


def descendants(node: Node) -> Iterator[Node]:
    """A node and all nodes in it."""
    waiting = [node]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += node.children


def word_of(node: Node, templates: Sequence[Span]) -> Word:
    """One word, as far as it is known before a shell runs."""
    text = node.text or b""
    known = [
        (inner.start_byte, inner.end_byte) for inner in descendants(node) if inner.type in _EXPANDED
    ]
    inside = [span for span in templates if node.start_byte <= span[0] < node.end_byte]
    if not known and not inside:
        return Word(_unquoted(text))
    first = min(start for start, _ in (*known, *inside)) - node.start_byte
    last = max(end for _, end in (*known, *inside)) - node.start_byte
    _, slash, name = _unquoted(text[last:]).rpartition("/")
    return Word(None, _unquoted(text[:first]), name if slash else "", bool(inside))


def _words_behind(redirect: Node) -> list[Node]:
    if redirect.type not in _REDIRECTS:
        return []
    nodes = [node for node in redirect.named_children if node.type not in _NO_WORDS]
    return nodes if redirect.type == "heredoc_redirect" else nodes[1:]


def _with_expansions(text: str, templates: Sequence[Reference]) -> tuple[bytes, list[Span]]:
    pieces: list[bytes] = []
    spans: list[Span] = []
    at = size = 0
    for reference in templates:
        before = text[at : reference.start].encode(errors="replace")
        expansion = b"${%b}" % variable_name(reference).encode()
        pieces += [before, expansion]
        size += len(before)
        spans.append((size, size + len(expansion)))
        size += len(expansion)
        at = reference.end
    return b"".join((*pieces, text[at:].encode(errors="replace"))), spans


def _body_start(source: bytes, delimiter: Node) -> int | None:
    """Where the first line of a here-document's body begins, if that is not its last one too."""
    start = source.find(b"\n", delimiter.end_byte) + 1
    line = source[start:].partition(b"\n")[0]
    ends = line.strip() == (delimiter.text or b"").strip(b"'\"\\")
    return start if start and not ends else None


def _filled(
    source: bytes, spans: Sequence[Span], fillers: Sequence[int]
) -> tuple[bytes, list[Span]]:
    pieces = [source[a:b] for a, b in zip([0, *fillers], [*fillers, len(source)], strict=True)]
    moved = [
        (start + shift, end + shift)
        for start, end in spans
        for shift in (sum(at <= start for at in fillers),)
    ]
    return b"x".join(pieces), moved


def _heredocs_misread(heredocs: Sequence[Node]) -> Iterator[Node]:
    """Here-documents whose delimiter or body the parser does not see where a shell does."""
    for heredoc in heredocs:
        delimiter = heredoc.children[1]
        text = heredoc.text or b""
        line_end = text.find(b"\n", delimiter.end_byte - heredoc.start_byte)
        first = delimiter.start_point.row
        parts = [node for node in heredoc.named_children if node.type not in {
            "heredoc_start", "heredoc_body", "heredoc_content", "heredoc_end"}]  # fmt: skip
        if (
            not _DELIMITER.fullmatch(delimiter.text or b"")
            or line_end < 0
            or any(node.end_point.row > first for node in parts)
        ):
            yield heredoc


@cache
def _parser() -> tree_sitter.Parser:
    return tree_sitter.Parser(tree_sitter.Language(tree_sitter_bash.language()))


def _unquoted(text: bytes) -> str:
    """The text without its quotes: enough to know a program or an option by its name."""
    joined = text.replace(b"\\\n", b"").decode(errors="replace")
    return "".join(char for char in joined if char not in "'\"\\")
