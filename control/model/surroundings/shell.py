"""Decides what becomes of templates in a shell command: data, or a refusal that says what to write.

A value never enters the text of a command. It is passed in an environment variable, and its
template becomes that variable's expansion, quoted as its position needs. Where the shell, or the
program that gets it, would evaluate even what was expanded, the template is refused
(`shell_positions`).
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from control.model import limits
from control.model.errors import Invalid
from control.model.json_values import Json, cut
from control.model.surroundings.base import Misplaced, Surroundings, scalar_texts
from control.model.surroundings.programs import Word, code_word
from control.model.surroundings.refusals import VARIABLE, Refusal
from control.model.surroundings.shell_positions import Positions
from control.model.templates import OPENING, Reference, Renderer, references, variable_name


class ShellCommand(Surroundings):
    """A text for a shell, or a list of a program and its arguments."""

    def problems(self, value: Json, params: Mapping[str, Json]) -> Iterator[Misplaced]:  # noqa: ARG002 - The interface of all surroundings.
        """Each template whose value would be executed or evaluated."""
        if isinstance(value, str) and OPENING in value:
            yield from _problems(value)
        elif isinstance(value, list):
            yield from _list_problems(value)

    def insert(self, value: Json, params: Mapping[str, Json], renderer: Renderer) -> Json:  # noqa: ARG002 - As above.
        """A command's templates become expansions of variables, a list's arguments texts."""
        if not isinstance(value, str):
            return scalar_texts(value, renderer)
        if OPENING not in value:
            return value
        for reference in references(value):
            renderer.variable(reference, value)
        return _read(value).command


def _problems(text: str) -> Sequence[Misplaced]:
    if len(text) <= limits.COMMAND_CHARS_MAX:
        return _read(text).problems
    try:
        return (_too_much(text, references(text)),)
    except Invalid:
        return ()


class _ShellReading(NamedTuple):
    """A command with expansions instead of templates, and the templates that are refused."""

    command: str
    problems: tuple[Misplaced, ...]


@lru_cache(limits.COMMANDS_CACHED_MAX)
def _read(text: str) -> _ShellReading:
    try:
        templates = references(text)
    except Invalid:
        return _ShellReading(
            text, ()
        )  # What cannot be read is refused where templates are checked.
    if len(templates) > limits.COMMAND_TEMPLATES_MAX:
        return _ShellReading(text, (_too_much(text, templates),))
    positions = Positions(text, templates)
    pieces: list[str] = []
    problems: list[Misplaced] = []
    at = 0
    for reference, position in zip(templates, positions.decided(), strict=True):
        pieces.append(text[at : reference.start])
        at = reference.end
        if isinstance(position, Refusal):
            problems.append(_problem(text, reference, position))
        else:
            pieces.append(position.replace("NAME", variable_name(reference)))
    return _ShellReading("".join((*pieces, text[at:])), tuple(problems))


def _list_problems(value: list[Json]) -> Iterator[Misplaced]:
    words = [_word(item) for item in value]
    for at, item in enumerate(value):
        if not isinstance(item, str) or OPENING not in item:
            continue
        refusal = code_word(words, at)
        if refusal is not None:
            yield _problem(item, references(item)[0], refusal)._replace(path=(at,))


def _word(item: Json) -> Word:
    if not isinstance(item, str):
        return Word(None)
    prefix, opening, _ = item.partition(OPENING)
    return Word(None, prefix, templated=True) if opening else Word(item)


def _problem(text: str, reference: Reference, refusal: Refusal) -> Misplaced:
    template = cut(text[reference.start : reference.end])
    line = text.count("\n", 0, reference.start) + 1
    column = reference.start - text.rfind("\n", 0, reference.start)
    message = f"{template} at line {line}, column {column} would become code: {refusal.why}"
    return Misplaced((), message, refusal.instead.replace("TEMPLATE", template))


def _too_much(text: str, templates: Sequence[Reference]) -> Misplaced:
    refusal = Refusal(
        f"a command of {len(text)} characters with {len(templates)} templates is not looked "
        f"through; at most {limits.COMMAND_CHARS_MAX} and {limits.COMMAND_TEMPLATES_MAX} are",
        VARIABLE,
    )
    return _problem(text, templates[0], refusal)
