"""Decides how each template of a shell command is written so that its value stays data there.

Sources: POSIX.1-2017, Shell Command Language, section 2 (quoting, expansions, here-documents), and
the Bash reference manual (arithmetic evaluation, conditional expressions, `declare`).
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeAlias

from tree_sitter import Node

from control.model import limits
from control.model.surroundings.program_tables import is_code_variable
from control.model.surroundings.programs import code_word, reads_code
from control.model.surroundings.refusals import ARGUMENT, NAME, VARIABLE, Refusal
from control.model.surroundings.shell_syntax import (
    Span,
    Syntax,
    ancestors,
    descendants,
    is_behind,
    owner_of,
)
from control.model.templates import Reference

_BARE: Final = '"${NAME}"'
_QUOTED: Final = "${NAME}"  # In double quotes, and in a here-document.
_IN_SINGLE_QUOTES: Final = "'\"${NAME}\"'"

# Operators of `[[ … ]]` that evaluate their operands, and of `[` and `test` too.
_COMPARING: Final = frozenset((b"-eq", b"-ne", b"-lt", b"-le", b"-gt", b"-ge"))
_ON_NAMES: Final = frozenset((b"-v", b"-R"))
_REDIRECTS: Final = frozenset(("file_redirect", "heredoc_redirect", "herestring_redirect"))
_FEEDING: Final = frozenset(("pipeline", "redirected_statement"))
_HARMLESS_OPTIONS: Final = re.compile(rb"-[xrgp]+")
# Assignments to what was declared like this evaluate their values.
_EVALUATED: Final = re.compile(
    r"\b(declare|typeset|local|readonly|export)\b[^;|&\n]*\s-[A-Za-z]*[inaA]|\binteger\s"
)


# Where even "$value" would be evaluated, only values of a known form may be inserted.
_NUMBER: Final = (
    "let only numbers pass: `value=TEMPLATE; case $value in ''|*[!0-9]*) exit 2;; esac`, and write "
    "$value here"
)
_ASSIGNMENT: Final = 'write `if [ -z "$name" ]; then name=TEMPLATE; fi` before'


Position: TypeAlias = str | Refusal
"""The text that replaces a template, with NAME for its variable; or why there is none."""


class Positions:
    """The templates of one command."""

    def __init__(self, text: str, templates: Sequence[Reference]) -> None:
        self._text = text
        self._templates = templates
        self._evaluates_assignments = bool(_EVALUATED.search(text))
        self._syntax = Syntax(text, templates)
        self._reading: dict[int, str | None] = {}  # By a node's id: what in it executes its input.

    def decided(self) -> Iterator[Position]:
        """The position of each template, in their order."""
        at = self._syntax.first_error()
        everywhere = None if at is None else _unreadable(*at)
        if everywhere is None and self._redirects_all_into_code():
            everywhere = Refusal("`exec` sends all output to what executes it", ARGUMENT)
        for reference, span in zip(self._templates, self._syntax.spans, strict=True):
            yield everywhere or self._decide(reference, span)

    def _decide(self, reference: Reference, span: Span) -> Position:
        node = self._syntax.node_of(span)
        if node is None:
            return _UNKNOWN
        if node.type == "comment":
            return _QUOTED if _begins_comment(node) else _UNKNOWN
        is_single = node.type == "raw_string"
        if self._text[: reference.start].endswith("$") and not is_single:
            return _DOLLAR
        if not is_single and not _is_span(node, span):
            return _unexpanded(node)
        refusals = (
            self._around(parent, child) if depth < limits.SHELL_DEPTH_MAX else _UNKNOWN
            for depth, (parent, child) in enumerate(ancestors(node))
        )
        position = _IN_SINGLE_QUOTES if is_single else _quoting(node)
        return next(filter(None, refusals), None) or position

    def _around(self, parent: Node, child: Node) -> Refusal | None:
        """Why one node around a template makes code of its value."""
        if parent.type in _REDIRECTS:
            return self._behind_redirect(parent, child) or self._into_stdin(parent, child)
        if parent.type in _FEEDING:
            return self._into_stdin(parent, child)
        special = _SPECIAL.get(parent.type)
        return _in_syntax(parent, child) if special is None else special(self, parent, child)

    def _in_command(self, command: Node, child: Node) -> Refusal | None:
        words, places = self._syntax.words_of(command)
        at = places.get(child.id)
        if at is None:  # An assignment, or a redirection.
            return self._into_stdin(command, child)
        return code_word(words, at)

    def _into_stdin(self, parent: Node, child: Node) -> Refusal | None:
        """Whether what is written here is read by something that executes it."""
        for reader in self._readers(parent, child):
            name = self._executes_input(reader)
            if name is not None:
                return Refusal(f"`{name}` executes what it reads", ARGUMENT)
        return None

    def _executes_input(self, reader: Node) -> str | None:
        """The first command in a node that executes what it reads; None: none does."""
        if reader.id not in self._reading:
            commands = (node for node in descendants(reader) if node.type == "command")
            found = (self._syntax.words_of(command)[0] for command in commands)
            names = (words[0].text or "…" for words in found if words and reads_code(words))
            self._reading[reader.id] = next(names, None)
        return self._reading[reader.id]

    def _readers(self, parent: Node, child: Node) -> list[Node]:
        """What reads the text that stands in `child`, or that it writes."""
        if parent.type == "pipeline":
            return [node for node in parent.children if node.start_byte >= child.end_byte]
        if parent.type == "heredoc_redirect":
            return [node for node in parent.children if node.type == "pipeline"]
        if child.type in {"heredoc_redirect", "herestring_redirect"}:
            owner = owner_of(child)
            return [] if owner is None else [owner]
        if child.type == "file_redirect":
            owner = owner_of(child)
            return [owner] if owner is not None and _is_input(child) else []
        # What a command writes goes to each `>(…)` that it is redirected to.
        return [node for node in parent.children if node.type == "file_redirect"]

    def _behind_redirect(self, redirect: Node, child: Node) -> Refusal | None:
        owner = owner_of(redirect)
        if not is_behind(redirect, child):
            return None
        return _UNKNOWN if owner is None else self._in_command(owner, child)

    def _redirects_all_into_code(self) -> bool:
        for node in descendants(self._syntax.root):
            if node.type == "redirected_statement" and (node.text or b"").startswith(b"exec"):
                redirects = [each for each in node.children if each.type == "file_redirect"]
                if any(self._executes_input(each) is not None for each in redirects):
                    return True
        return False

    def _assigned(self, assignment: Node, _child: Node) -> Refusal | None:
        name = assignment.child_by_field_name("name")
        text = (name.text or b"").decode(errors="replace") if name is not None else ""
        if is_code_variable(text):
            return Refusal(f"programs execute or evaluate ${text}", "use another variable")
        if self._evaluates_assignments:
            why = "variables of this command are declared so that assignments evaluate their value"
            return Refusal(why, f"declare them without -i, -n, -a, and -A, or {_NUMBER}")
        return None


def _unreadable(line: int, column: int) -> Refusal:
    # Maybe by this parser only: a shell decides that when it runs the command.
    why = f"what surrounds it is not known, as the command cannot be read at {line}:{column}"
    return Refusal(why, VARIABLE)


def _is_span(node: Node, span: Span) -> bool:
    """Whether a node is a template's expansion: the parser adds the blanks before it."""
    blanks = (node.text or b"")[: span[0] - node.start_byte]
    ends = node.start_byte <= span[0] and node.end_byte == span[1]
    return node.type == "expansion" and ends and not blanks.strip()


def _begins_comment(node: Node) -> bool:
    """Whether a shell sees a comment too: a word before it could go on behind a line's end."""
    before = node.parent.text if node.parent is not None else b""
    at = node.start_byte - (node.parent.start_byte if node.parent is not None else 0)
    return not (before or b"")[:at].endswith((b"\\\n", b"\r", b"\x0b", b"\x0c"))


def _is_input(redirect: Node) -> bool:
    """`< <(…)`: what the substitution writes is read."""
    return b"<" in (redirect.text or b"").partition(b"(")[0]


def _quoting(expansion: Node) -> str:
    for parent, _ in ancestors(expansion):
        if parent.type in {"string", "heredoc_body"}:
            return _QUOTED
        if parent.type in {"command_substitution", "process_substitution"}:
            return _BARE
    return _BARE


def _unexpanded(node: Node) -> Refusal:
    """Where no shell expands variables, or what surrounds it is not known."""
    if node.type in {"heredoc_body", "heredoc_content", "heredoc_redirect"}:
        return Refusal(
            "the quotes around the here-document's delimiter leave nothing to expand",
            "write <<EOF without quotes (and \\$ for each other dollar sign)",
        )
    if node.type == "ansi_c_string":
        return Refusal("nothing is expanded in $'…'", "write it outside of these quotes")
    if any(parent.type == "expansion" for parent, _ in ancestors(node)):
        return _INSIDE
    return _UNKNOWN


def _declared(_self: Positions, command: Node, child: Node) -> Refusal | None:
    keyword = (command.children[0].text or b"").decode(errors="replace")
    if child.type != "variable_assignment":
        return Refusal(f"`{keyword}` evaluates names", f"write `{keyword} NAME=TEMPLATE`")
    options = [node.text or b"" for node in command.named_children if node.type == "word"]
    for option in options:
        if option.startswith((b"-", b"+")) and not _HARMLESS_OPTIONS.fullmatch(option):
            why = f"`{keyword} {option.decode(errors='replace')}` evaluates values"
            return Refusal(why, f"leave out the option, or {_NUMBER}")
    return None


def _tested(_self: Positions, expression: Node, _child: Node) -> Refusal | None:
    operator = expression.child_by_field_name("operator")
    text = operator.text if operator is not None else None
    test = next((node for node, _ in ancestors(expression) if node.type == "test_command"), None)
    if text in _ON_NAMES:
        return Refusal(f"`{text.decode() if text else ''}` evaluates a name", NAME)
    if text in _COMPARING and test is not None and (test.text or b"").startswith(b"[["):
        shown = text.decode() if text else ""
        why = f"`[[ … {shown} … ]]` evaluates its operands"
        return Refusal(why, f"write [ TEMPLATE {shown} … ], which takes numbers only")
    return None


_SPECIAL: Final[dict[str, Callable[[Positions, Node, Node], Refusal | None]]] = {
    "command": Positions._in_command,  # noqa: SLF001 - This module's own.
    "variable_assignment": Positions._assigned,  # noqa: SLF001
    "declaration_command": _declared,
    "binary_expression": _tested,
    "unary_expression": _tested,
}


def _in_syntax(parent: Node, child: Node) -> Refusal | None:
    if child.type in {"do_group", "compound_statement"}:
        return None  # The body of a loop, or of a function.
    if parent.type == "array" and (child.text or b"").startswith(b"["):
        return _SYNTAX["subscript"][1]
    opening, refusal = _SYNTAX.get(parent.type, (b"", None))
    return refusal if (parent.text or b"").startswith(opening) else None


_UNKNOWN: Final = Refusal(
    "what surrounds it cannot be told apart from code (a backslash before it, for example)",
    VARIABLE,
)
_DOLLAR: Final = Refusal(
    "a dollar sign before it makes another expansion of both",
    "write \\$ for a dollar sign that stays one",
)
_ARITHMETIC: Final = Refusal(
    "arithmetic evaluates the text of a value",
    "compute with expr, which takes data: $(expr TEMPLATE + 1)",
)
_INSIDE: Final = Refusal("the inside of ${…} is evaluated", _ASSIGNMENT)
# Syntax that evaluates what is in it, by its node's type, where it begins like this.
_SYNTAX: Final[dict[str, tuple[bytes, Refusal]]] = {
    "arithmetic_expansion": (b"", _ARITHMETIC),
    "compound_statement": (b"((", _ARITHMETIC),
    "c_style_for_statement": (b"", _ARITHMETIC),
    "subscript": (b"", Refusal("the index of an array is evaluated", _NUMBER)),
    "expansion": (b"", _INSIDE),
    "command_substitution": (
        b"`",
        Refusal("backquotes have quoting rules of their own", "write $(…) instead"),
    ),
    "function_definition": (
        b"",
        Refusal("it names a function", "write the name without a template"),
    ),
    "unset_command": (b"", Refusal("`unset` evaluates names", NAME)),
}
