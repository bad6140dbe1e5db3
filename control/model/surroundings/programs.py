"""Decides which words of a command line are code: those that a program takes as a program text.

The words are those of an argument list, or of a simple command of a shell. A word of a program that
`program_tables` does not name is data.
"""

import os.path
import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from control.model import limits
from control.model.surroundings.program_tables import (
    CARRIERS,
    EVALUATE,
    EXEC_OPTIONS,
    LANGUAGES,
    LONG_DATA,
    SHELL,
    STARTERS,
    VERSIONED,
    Language,
    is_code_variable,
)

_NUMBER: Final = re.compile(r"[0-9.]+[smhd]?")
_ASSIGNMENT: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
_EVALUATING_OPTIONS: Final = {"test": ("-v", "-R"), "[": ("-v", "-R"), "printf": ("-v",)}
_FROM_STDIN: Final = re.compile(r"-[A-Za-z]*s[A-Za-z]*")


class Word(NamedTuple):
    """One word of a command line."""

    text: str | None  # None where only the shell knows it, and of a word with a template.
    prefix: str = ""  # The literal text before its first template, as in `NAME=${{ … }}`.


def code_word(words: Sequence[Word], at: int) -> str | None:
    """Say why the template in word `at` would become code; None: it is data there."""
    if at == 0:
        return "it names the program that is executed"
    if len(words) > limits.COMMAND_WORDS_MAX:
        return f"more than {limits.COMMAND_WORDS_MAX} words of a command are not looked through"
    name = _name(words[0])
    if name is None:
        return None
    language = _language(name)
    if language is not None:
        return f"`{name}` would execute it" if _in_program(language, words, at) else None
    if name in STARTERS | CARRIERS:
        return _in_started(name, words, at)
    return EVALUATE.get(name) or _in_builtin(name, words, at)


def reads_code(words: Sequence[Word]) -> bool:
    """Whether what a command reads from its standard input is code."""
    name = _name(words[0]) if words else None
    if name is None:
        return False
    if len(words) > limits.COMMAND_WORDS_MAX:
        return True
    language = _language(name)
    if language is not None:
        return _stdin_is_code(language, words)
    if name == "xargs":  # What it reads becomes words of the program that it starts.
        return any(map(_takes_code, words[1:]))
    if name in STARTERS | CARRIERS:
        return any(
            reads_code(words[start:]) for start in range(1, len(words)) if _takes_code(words[start])
        )
    return name in {"ssh", "su", "parallel"}


def _name(word: Word) -> str | None:
    return os.path.basename(word.text) if word.text else None


def _language(name: str) -> Language | None:
    versioned = VERSIONED.fullmatch(name)
    return LANGUAGES.get(versioned[1] if versioned else name)


def _takes_code(word: Word) -> bool:
    """Whether a word after the first names a program that executes some of its own words."""
    name = _name(word)
    if name is None or name == ".":  # Far more often a directory.
        return False
    return name in EVALUATE or name in _EVALUATING_OPTIONS or _language(name) is not None


def _in_builtin(name: str, words: Sequence[Word], at: int) -> str | None:
    """Arguments of `test` and `printf`: most are data."""
    option = words[at - 1].text
    if option in _EVALUATING_OPTIONS.get(name, ()):
        return f"`{name} {option}` evaluates a name"
    if name != "printf":
        return None
    first = 3 if words[1].text == "-v" else 1
    if words[first].text == "--":
        first += 1
    return "it is the format of `printf`" if at == first else None


def _in_program(language: Language, words: Sequence[Word], at: int) -> bool:
    """Whether word `at` is part of the program, or may choose it."""
    program, data = _program(language, words)
    if at in data:
        return False
    if program is None or at <= program or language.all_code:
        return True
    if language is SHELL:
        return False
    if _option(language, words[at - 1].text or "") == "code":
        return True
    # A value that looks like an option would be one.
    return language.permutes and all(word.text != "--" for word in words[:at])


def _program(language: Language, words: Sequence[Word]) -> tuple[int | None, set[int]]:
    """Which word is the program, or names its file (None: none does); which before it are data."""
    data = set[int]()
    index = 1
    while index < len(words):
        text = words[index].prefix if words[index].text is None else words[index].text or ""
        if not text.startswith("-") or text == "-":
            return index, data
        if text == "--" and _reads_program(language, words[1:index]):
            return index, data
        kind = _option(language, text)
        if kind in {"code", "attached code"}:
            return index + (kind == "code"), data
        if kind == "attached data":
            data.add(index)
        elif words[index].text is None:
            return index, data  # A template chooses the option.
        arguments = 1 if kind == "data" else LONG_DATA.get(text, 0)
        data.update(range(index + 1, index + 1 + arguments))
        index += 1 + arguments
    return None, data


def _reads_program(language: Language, options: Sequence[Word]) -> bool:
    """Whether a shell's options make it read its program from its standard input."""
    return language is SHELL and any(_FROM_STDIN.fullmatch(word.text or "") for word in options)


def _option(language: Language, text: str) -> str:
    """What the argument of an option is: `code` or `data`, `attached …` to it, or `none`."""
    if text.startswith("--"):
        name, attached, _ = text.partition("=")
        return "none" if name not in language.long_code else "attached code" if attached else "code"
    for place, letter in enumerate(text[1:], 2):
        attached = "attached " if place < len(text) else ""
        if letter in language.code:
            return f"{attached}code"
        if letter in language.data:
            return f"{attached}data"
    return "none"


def _stdin_is_code(language: Language, words: Sequence[Word]) -> bool:
    if language.reads_data:
        return False
    program, _ = _program(language, words)
    if program is None or program >= len(words) or language.all_code:
        return True
    return words[program].text == "-" or _reads_program(language, words[1:program])


def _in_started(name: str, words: Sequence[Word], at: int) -> str | None:
    """The words of a program that starts another one."""
    if words[at - 1].text in EXEC_OPTIONS:
        return "it names the program that is executed"
    # An option's argument can look like the started program: all that may be it are looked at.
    for start in range(1, at):
        if _takes_code(words[start]):
            why = code_word(words[start:], at - start)
            if why is not None:
                return why
    if name in CARRIERS or any(_may_be_started(words, index) for index in range(1, at)):
        return None
    assigned = _ASSIGNMENT.match(words[at].prefix)
    if name != "env" or assigned is None:
        return f"`{name}` would start it"
    variable = assigned[0][:-1]
    return f"programs execute ${variable}" if is_code_variable(variable) else None


def _may_be_started(words: Sequence[Word], index: int) -> bool:
    """Whether a word names the started program: nothing else, nor an option's argument."""
    text, before = words[index].text, words[index - 1].text
    return not (
        text is None
        or text.startswith("-")
        or _NUMBER.fullmatch(text)
        or _ASSIGNMENT.match(text)
        or before is None
        or before.startswith("-")
    )
