"""Decides which words of a command line are code: those that a program takes as a program text.

The words are those of an argument list, or of a simple command of a shell. Of a program that
`program_tables` does not name they are data, but for those of an interpreter among them.
"""

import os.path
import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from control.model import limits
from control.model.surroundings.program_tables import (
    CARRIERS,
    CODE_OPTIONS,
    EVALUATE,
    EXEC_OPTIONS,
    LANGUAGES,
    LONG_DATA,
    READERS,
    SHELL,
    STARTERS,
    STDIN,
    VERSIONED,
    Language,
    is_code_variable,
)
from control.model.surroundings.refusals import ARGUMENT, DASHES, PROGRAM, VARIABLE, Refusal

_ASSIGNMENT: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
_FROM_STDIN: Final = re.compile(r"-[A-Za-z]*s[A-Za-z]*")
_MAY_TAKE_CODE: Final = re.compile(r"[-+][A-Za-z]*[cerEpm]|--(eval|command|exec|execute|print|run)")


class Word(NamedTuple):
    """One word of a command line."""

    text: str | None  # None where only the shell knows it, and of a word with a template.
    prefix: str = ""  # Its literal text before what is not known, as in `NAME=${{ … }}`.
    name: str = ""  # The last part of a path that begins with what is not known.
    templated: bool = False


class _Program(NamedTuple):
    """Which word is a program's text, or names its file (None: none does)."""

    at: int | None
    by_option: bool
    data: set[int]  # Words before it that are data.


def code_word(words: Sequence[Word], at: int) -> Refusal | None:
    """Why the template in word `at` would become code; None: it is data there."""
    if len(words) > limits.COMMAND_WORDS_MAX:
        return Refusal(
            f"more than {limits.COMMAND_WORDS_MAX} words of a command are not looked through",
            VARIABLE,
        )
    while at and (name := _name(words[0])) in STARTERS:
        started = _started(name, words, at)
        if not isinstance(started, int):
            return started
        words, at = words[started:], at - started
    return (
        _of_program(words, at) if at else Refusal("it names the program that is executed", PROGRAM)
    )


def _of_program(words: Sequence[Word], at: int) -> Refusal | None:
    name = _name(words[0])
    if name is None:
        return _of_unknown(words, at)
    language = _language(name)
    if language is not None:
        return _in_program(name, language, words, at)
    if name in EVALUATE:
        return Refusal(*EVALUATE[name])
    return _in_option(name, words, at) or _carried(name, words, at)


def reads_code(words: Sequence[Word]) -> bool:
    """Whether what a command reads from its standard input is code."""
    name = _name(words[0]) if words else ""
    if name is None or len(words) > limits.COMMAND_WORDS_MAX:
        return True  # It may be a shell.
    language = _language(name)
    if language is not None:
        return _stdin_is_code(language, words)
    if name == "xargs":  # What it reads becomes words of the program that it starts.
        return any(map(_takes_code, words[1:]))
    if name == "ssh":  # What a remote command reads is its own matter.
        plain = [word for word in words[1:] if not (word.text or "").startswith("-")]
        return len(plain) <= 1 or any(map(_takes_code, plain[1:]))
    if name in STARTERS or name in CARRIERS:
        starts = [start for start in range(1, len(words)) if _takes_code(words[start])]
        few = len(starts) <= limits.COMMAND_INTERPRETERS_MAX
        return not few or any(reads_code(words[start:]) for start in starts)
    return name in READERS


def _name(word: Word) -> str | None:
    return os.path.basename(word.text) if word.text else word.name or None


def _language(name: str) -> Language | None:
    versioned = VERSIONED.fullmatch(name)
    return LANGUAGES.get(versioned[1] if versioned else name)


def _takes_code(word: Word) -> bool:
    """Whether a word after the first names a program that executes some of its own words."""
    name = _name(word)
    if name is None or name == ".":  # Far more often a directory.
        return False
    return name in EVALUATE or name in READERS or _language(name) is not None


def _of_unknown(words: Sequence[Word], at: int) -> Refusal | None:
    """Words of a program that only the shell knows."""
    if any(_MAY_TAKE_CODE.fullmatch(word.text or "") for word in words[1:at]):
        return Refusal("the program is not known here, and may execute it", ARGUMENT)
    return _carried("", words, at)


def _in_option(name: str, words: Sequence[Word], at: int) -> Refusal | None:
    """Arguments of options that a program executes, and the format of `printf`."""
    options, word, before = CODE_OPTIONS.get(name, ()), words[at], words[at - 1]
    attached = any(word.prefix.startswith((f"{each}=", each)) for each in options)
    if options and (before.text in options or attached or (before.templated and name == "test")):
        return Refusal(f"`{name} {before.text or word.prefix}` executes or evaluates it", ARGUMENT)
    if name != "printf":
        return None
    first = 1 + (words[1].text == "--")
    return (
        Refusal("it is the format of `printf`", "write printf '%s' TEMPLATE")
        if at == first
        else None
    )


def _in_program(name: str, language: Language, words: Sequence[Word], at: int) -> Refusal | None:
    """The words of an interpreter."""
    program, prefix = _program(language, words), words[at].prefix
    is_data = at in program.data or _is_attached_data(language, prefix)
    if is_data or _option(language, words[at - 1].text or "") == "data":
        return None
    if program.at is not None and at > program.at and not language.all_code:
        return _behind_program(name, language, words, program, at)
    why = f"`{name}` would execute it"
    if at != program.at or program.by_option or language.inline:
        return Refusal(why, language.instead)
    # A file of a directory that is named is a file of its author's.
    return None if "/" in prefix else Refusal(why, PROGRAM)


def _behind_program(
    name: str, language: Language, words: Sequence[Word], program: _Program, at: int
) -> Refusal | None:
    """Words behind an interpreter's program: its arguments, unless they may be options."""
    assert program.at is not None
    if any(_opens_commands(language, word.text or "") for word in words[1 : program.at + 1]):
        return Refusal(f"`{name}` opens such arguments as commands", "write `< TEMPLATE`")
    ends = language is SHELL or language.ends_options or any(w.text == "--" for w in words[:at])
    if ends or not (language.permutes or program.by_option):
        return None
    between = words[program.at + 1 : at]
    plain = any(word.text and not word.text.startswith("-") for word in between)
    if plain and not language.permutes:
        return None
    if _option(language, words[at - 1].text or "") == "code":
        return Refusal(f"`{name}` would execute it", language.instead)
    return Refusal(f"`{name}` would take a value that begins with - for an option", DASHES)


def _program(language: Language, words: Sequence[Word]) -> _Program:
    data = set[int]()
    for index, word in enumerate(words):
        count = LONG_DATA.get(word.text or "", 0)
        data.update(range(index + 1, index + 1 + count))
    index = 1
    while index < len(words):
        word = words[index]
        text = word.prefix if word.text is None else word.text
        signs = ("-", "+") if language is SHELL else ("-",)
        if index in data:
            index += 1
            continue
        if not text.startswith(signs) or word.text == "-":
            return _Program(index, by_option=False, data=data)
        if text == "--":
            after = 0 if _reads_program(language, words[1:index]) else 1
            return _Program(index + after, by_option=False, data=data)
        kind = _option(language, text)
        if kind in {"code", "attached code"}:
            return _Program(index + (kind == "code"), by_option=True, data=data)
        if kind == "attached data" or _is_attached_data(language, text):
            data.add(index)
        elif word.text is None:
            return _Program(index + 1, by_option=True, data=data)  # It chooses the option.
        if kind == "data":
            data.add(index + 1)
        index += 1
    return _Program(None, by_option=False, data=data)


def _is_attached_data(language: Language, text: str) -> bool:
    """`--host=` and the like."""
    name, attached, _ = text.partition("=")
    return text.startswith("--") and bool(attached) and name not in language.long_code


def _reads_program(language: Language, options: Sequence[Word]) -> bool:
    """Whether a shell's options make it read its program from its standard input."""
    return language is SHELL and any(_FROM_STDIN.fullmatch(word.text or "") for word in options)


def _opens_commands(language: Language, text: str) -> bool:
    return text.startswith("-") and any(letter in text for letter in language.opens_commands)


def _option(language: Language, text: str) -> str:
    """What the argument of an option is: `code` or `data`, `attached …` to it, or `none`."""
    if text.startswith("--"):
        name, attached, _ = text.partition("=")
        return "none" if name not in language.long_code else "attached code" if attached else "code"
    if not text.startswith(("-", "+")):
        return "none"
    if text[-1] in language.code:
        return "code"
    for place, letter in enumerate(text[1:], 2):
        attached = "attached " if place < len(text) else ""
        if letter in language.code:
            return f"{attached}code"
        if letter in language.data:
            return f"{attached}data"
    return "none"


def _stdin_is_code(language: Language, words: Sequence[Word]) -> bool:
    program = _program(language, words)
    if language.inline:  # What awk, sed, and jq read is what they work on.
        at = program.at
        return program.by_option and at is not None and at < len(words) and words[at].text in STDIN
    if program.at is None or program.at >= len(words) or language.all_code:
        return True
    return words[program.at].text in STDIN or _reads_program(language, words[1 : program.at])


def _started(name: str, words: Sequence[Word], at: int) -> int | Refusal | None:
    """Where the started program's name is; or what the template is, if it comes before that."""
    letters, own = STARTERS[name]
    options = {word.text for word in words[1:at]}
    if name == "command" and options & {"-v", "-V"}:
        return None
    if name == "flock" and options & {"-c", "--command"}:
        return Refusal("`flock -c` hands it to a shell", ARGUMENT)
    assigns = name in {"env", "sudo", "doas"}
    index = 1
    while index < at:
        text = words[index].text
        if text is not None and text.startswith("-"):
            takes = not text.startswith("--") and text[-1] in letters
            index += 2 if takes else 1
        elif text is not None and assigns and _ASSIGNMENT.match(text):
            index += 1
        elif own:
            own, index = own - 1, index + 1
        else:
            return index
    return _before_started(name, words, at, is_own=index > at or own > 0)


def _before_started(name: str, words: Sequence[Word], at: int, *, is_own: bool) -> Refusal | None:
    """What a template is that stands before the started program, or names it."""
    prefix, before = words[at].prefix, words[at - 1].text or ""
    starts = Refusal(f"`{name}` would start it", PROGRAM)
    if name == "env" and (before.startswith(("-S", "--split")) or prefix.startswith(("-S", "--s"))):
        return starts
    if is_own or (len(prefix) > 1 and prefix[0] == "-" and prefix[1] in STARTERS[name][0]):
        return None
    assigned = _ASSIGNMENT.match(prefix) if name in {"env", "sudo", "doas"} else None
    if assigned is None:
        return starts
    variable = assigned[0][:-1]
    return (
        Refusal(f"programs execute ${variable}", VARIABLE) if is_code_variable(variable) else None
    )


def _carried(name: str, words: Sequence[Word], at: int) -> Refusal | None:
    """Words of an interpreter among those of another program."""
    if words[at - 1].text in EXEC_OPTIONS and name in CARRIERS:
        return Refusal("it names the program that is executed", PROGRAM)
    starts = [start for start in range(1, at) if _takes_code(words[start])]
    if name not in CARRIERS:  # Of others only what can hardly be anything else.
        starts = [each for each in starts if (words[each + 1].text or "").startswith(("-", "+"))]
    if len(starts) > limits.COMMAND_INTERPRETERS_MAX:
        return Refusal("too many of its words may be interpreters", VARIABLE)
    found = (_of_one(words[start:], at - start) for start in starts)
    return next(filter(None, found), None)


def _of_one(words: Sequence[Word], at: int) -> Refusal | None:
    name = _name(words[0]) or ""
    language = _language(name)
    if language is not None:
        return _in_program(name, language, words, at)
    return Refusal(*EVALUATE[name]) if name in EVALUATE else None
