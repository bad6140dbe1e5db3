"""Decides how each template of a shell command is written so that its value stays data there.

Sources: POSIX.1-2017, Shell Command Language, section 2 (quoting, expansions, here-documents), and
the Bash reference manual (arithmetic evaluation, conditional expressions, `declare`).
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, TypeAlias

from tree_sitter import Node

from control.model import limits
from control.model.surroundings.program_tables import is_code_variable
from control.model.surroundings.programs import Word, code_word, reads_code
from control.model.surroundings.shell_syntax import (
    Span,
    ancestors,
    descendants,
    first_error,
    parse,
    words_of,
)
from control.model.templates import Reference, variable_name

_BARE: Final = '"${NAME}"'
_QUOTED: Final = "${NAME}"  # In double quotes, and in a here-document.
_IN_SINGLE_QUOTES: Final = "'\"${NAME}\"'"

# Operators of `[[ … ]]` that evaluate their operands, and of `[` and `test` too.
_COMPARING: Final = frozenset((b"-eq", b"-ne", b"-lt", b"-le", b"-gt", b"-ge"))
_ON_NAMES: Final = frozenset((b"-v", b"-R"))
_FEEDING: Final = frozenset(
    ("pipeline", "heredoc_redirect", "herestring_redirect", "redirected_statement")
)
_HARMLESS_OPTIONS: Final = re.compile(rb"-[xrgp]+")
# Assignments to what was declared like this evaluate their values.
_EVALUATED: Final = re.compile(
    r"\b(declare|typeset|local|readonly|export)\b[^;|&\n]*\s-[A-Za-z]*[inaA]|\binteger\s"
)


class Refusal(NamedTuple):
    """Why a value would become code, and what to write instead of TEMPLATE."""

    why: str
    instead: str


VARIABLE: Final = 'set `env: {VALUE: TEMPLATE}` for the job, and write "$VALUE" here'
BEFORE: Final = 'assign it before, `value=TEMPLATE`, and write "$value" here'
ARGUMENT: Final = (
    "pass it as an argument after the code, as in `sh -c 'echo \"$1\"' sh TEMPLATE`, or set "
    "`env: {VALUE: TEMPLATE}` for the job and let the code read the variable VALUE"
)
PROGRAM: Final = (
    "choose among programs, `case TEMPLATE in a) make a;; b) make b;; esac`; or, where the run's "
    'input is trusted to name any program, set `env: {PROGRAM: TEMPLATE}` and write "$PROGRAM" here'
)
# Where even "$value" would be evaluated, only values of a known form may be inserted.
_NUMBER: Final = (
    "let only numbers pass: `value=TEMPLATE; case $value in ''|*[!0-9]*) exit 2;; esac`, and write "
    "$value here"
)
_NAME: Final = "choose among names: `case TEMPLATE in a) name=a;; b) name=b;; *) exit 2;; esac`"
_ASSIGNMENT: Final = 'write `if [ -z "$name" ]; then name=TEMPLATE; fi` before'


Position: TypeAlias = str | Refusal
"""The text that replaces a template, with NAME for its variable; or why there is none."""


class Positions:
    """The templates of one command."""

    def __init__(self, text: str, templates: Sequence[Reference]) -> None:
        self._evaluates_assignments = bool(_EVALUATED.search(text))
        pieces: list[bytes] = []
        self._spans: list[Span] = []
        self._words: dict[int, tuple[list[Word], dict[int, int]]] = {}
        at = size = 0
        for reference in templates:
            before = text[at : reference.start].encode(errors="replace")
            expansion = b"${%b}" % variable_name(reference).encode()
            pieces += [before, expansion]
            size += len(before)
            self._spans.append((size, size + len(expansion)))
            size += len(expansion)
            at = reference.end
        self._root = parse(b"".join((*pieces, text[at:].encode(errors="replace"))))

    def decided(self) -> Iterator[Position]:
        """The position of each template, in their order."""
        at = first_error(self._root)
        for span in self._spans:
            yield self._decide(span) if at is None else _unreadable(*at)

    def _decide(self, span: Span) -> Position:
        node = self._root.descendant_for_byte_range(*span)
        if node is None:
            return _UNKNOWN
        if node.type == "comment":
            return _QUOTED
        if node.type == "raw_string":
            position: Position = _IN_SINGLE_QUOTES
        elif node.type == "expansion" and (node.start_byte, node.end_byte) == span:
            position = _quoting(node)
        else:
            return _unexpanded(node)
        for depth, (parent, child) in enumerate(ancestors(node)):
            if depth > limits.SHELL_DEPTH_MAX:
                return _UNKNOWN
            refusal = self._around(parent, child)
            if refusal is not None:
                return refusal
        return position

    def _around(self, parent: Node, child: Node) -> Refusal | None:
        """Why one node around a template makes code of its value."""
        if parent.type == "command":
            return self._in_command(parent, child)
        if parent.type in _FEEDING:
            return self._into_stdin(parent, child)
        if parent.type == "variable_assignment":
            return self._assigned(parent)
        if parent.type == "declaration_command":
            return _declared(parent, child)
        if parent.type in {"binary_expression", "unary_expression"}:
            return _tested(parent)
        return _in_syntax(parent, child)

    def _in_command(self, command: Node, child: Node) -> Refusal | None:
        words, places = self._words_of(command)
        at = places.get(child.id)
        if at is None:  # An assignment, or a redirection.
            return self._into_stdin(command, child)
        why = code_word(words, at)
        if why is None:
            return None
        if at == 0:
            return Refusal(why, "choose among names: case TEMPLATE in a) make a;; b) make b;; esac")
        return Refusal(why, _instead_of_word(why))

    def _words_of(self, command: Node) -> tuple[list[Word], dict[int, int]]:
        """The words of a command, and the place of each among them by its node's id."""
        known = self._words.get(command.id)
        if known is None:
            found = words_of(command, self._spans)
            places = {node.id: place for place, (node, _) in enumerate(found)}
            known = self._words[command.id] = [word for _, word in found], places
        return known

    def _into_stdin(self, parent: Node, child: Node) -> Refusal | None:
        """Whether what is written here is read by something that executes it."""
        if parent.type == "pipeline":
            readers = [node for node in parent.children if node.start_byte >= child.end_byte]
        elif parent.type == "heredoc_redirect":
            readers = [node for node in parent.children if node.type == "pipeline"]
        elif child.type.endswith("redirect") and child.type != "file_redirect":
            body = parent.child_by_field_name("body")
            readers = [parent if body is None else body]
        else:
            return None
        for reader in readers:
            for node in descendants(reader):
                if node.type == "command":
                    words, _ = self._words_of(node)
                    if reads_code(words):
                        why = f"`{words[0].text}` executes what it reads"
                        return Refusal(why, ARGUMENT)
        return None

    def _assigned(self, assignment: Node) -> Refusal | None:
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


def _instead_of_word(why: str) -> str:
    if "format" in why:
        return "write printf '%s' TEMPLATE"
    if "name" in why:
        return _NAME
    return BEFORE if "start it" in why else ARGUMENT


def _quoting(expansion: Node) -> str:
    for parent, _ in ancestors(expansion):
        if parent.type in {"string", "heredoc_body"}:
            return _QUOTED
        if parent.type in {"command_substitution", "process_substitution"}:
            return _BARE
    return _BARE


def _unexpanded(node: Node) -> Refusal:
    """Where no shell expands variables, or nobody can tell."""
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


def _declared(command: Node, child: Node) -> Refusal | None:
    keyword = (command.children[0].text or b"").decode(errors="replace")
    if child.type != "variable_assignment":
        return Refusal(f"`{keyword}` evaluates names", f"write `{keyword} NAME=TEMPLATE`")
    options = [node.text or b"" for node in command.named_children if node.type == "word"]
    for option in options:
        if option.startswith((b"-", b"+")) and not _HARMLESS_OPTIONS.fullmatch(option):
            why = f"`{keyword} {option.decode(errors='replace')}` evaluates values"
            return Refusal(why, f"leave out the option, or {_NUMBER}")
    return None


def _tested(expression: Node) -> Refusal | None:
    operator = expression.child_by_field_name("operator")
    text = operator.text if operator is not None else None
    test = next((node for node, _ in ancestors(expression) if node.type == "test_command"), None)
    if text in _ON_NAMES:
        return Refusal(f"`{text.decode() if text else ''}` evaluates a name", _NAME)
    if text in _COMPARING and test is not None and (test.text or b"").startswith(b"[["):
        shown = text.decode() if text else ""
        why = f"`[[ … {shown} … ]]` evaluates its operands"
        return Refusal(why, f"write [ TEMPLATE {shown} … ], which takes numbers only")
    return None


def _in_syntax(parent: Node, child: Node) -> Refusal | None:
    if child.type in {"do_group", "compound_statement"}:
        return None  # The body of a loop, or of a function.
    opening, refusal = _SYNTAX.get(parent.type, (b"", None))
    return refusal if (parent.text or b"").startswith(opening) else None


_UNKNOWN: Final = Refusal(
    "what surrounds it cannot be told apart from code (a backslash before it, for example)",
    VARIABLE,
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
    "unset_command": (b"", Refusal("`unset` evaluates names", _NAME)),
}
