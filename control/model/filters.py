"""Decides what a filter means: words that rows of a table must match, all of them.

`nightly` finds it in any text shown, `!x` turns a term round, `~nrp` wants its letters in order,
`client:acme` looks into one field, `p95:>10s` and `n:>=1k` compare. Quotes take all as it stands.
"""

import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Literal, TypeAlias

import msgspec

from control.model import limits
from control.model.errors import Invalid
from control.model.states import FINAL, State

Kind: TypeAlias = Literal["text", "number", "seconds"]
Get: TypeAlias = Callable[[str], str | float | None]

_NUMBER: Final = re.compile(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))([A-Za-z]*)")
_UNITS: Final[Mapping[Kind, Mapping[str, float]]] = {
    "text": {},
    "number": {"": 1.0, "k": 1e3, "M": 1e6},
    "seconds": {"": 1.0, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0},
}
_RIGHT: Final[Mapping[Kind, str]] = {
    "text": "",
    "number": "write a number like 3, 0.5, 20k or 1M",
    "seconds": "write a length of time like 10s, 250ms, 5m, 2h or 1d",
}
_COMPARED: Final[Mapping[str, Callable[[float, float], bool]]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "=": operator.eq,
}
_STATE: Final = "state"
_STATES: Final[Mapping[str, frozenset[str]]] = {
    **{state.value.casefold(): frozenset({state.value.casefold()}) for state in State},
    "running": frozenset({State.IN_PROGRESS.value.casefold()}),
    "open": frozenset(state.value.casefold() for state in State if state not in FINAL),
}


class FilterInvalid(Invalid):
    """A filter that cannot be understood."""

    def __init__(self, message: str) -> None:
        super().__init__((), message)


class _Word(msgspec.Struct, frozen=True, tag=True):
    """Some text that is shown has it in it."""

    word: str

    def holds(self, get: Get, texts: Sequence[str]) -> bool:  # noqa: ARG002 - one shape for all.
        return any(self.word in text for text in texts)


class _Fuzzy(msgspec.Struct, frozen=True, tag=True):
    """Some text that is shown has its letters, in order."""

    letters: str

    def holds(self, get: Get, texts: Sequence[str]) -> bool:  # noqa: ARG002 - one shape for all.
        return any(_in_order(self.letters, text) for text in texts)


class _Within(msgspec.Struct, frozen=True, tag=True):
    """A field has it in it."""

    field: str
    word: str

    def holds(self, get: Get, texts: Sequence[str]) -> bool:  # noqa: ARG002 - one shape for all.
        return self.word in _shown(get(self.field))


class _OneOf(msgspec.Struct, frozen=True, tag=True):
    """A field is one of these. No value is the empty text."""

    field: str
    words: frozenset[str]

    def holds(self, get: Get, texts: Sequence[str]) -> bool:  # noqa: ARG002 - one shape for all.
        return _shown(get(self.field)) in self.words


class _Compared(msgspec.Struct, frozen=True, tag=True):
    """A field's number stands so to this one; no value does not."""

    field: str
    sign: str
    number: float

    def holds(self, get: Get, texts: Sequence[str]) -> bool:  # noqa: ARG002 - one shape for all.
        value = get(self.field)
        if value is None or isinstance(value, str):
            return False
        return _COMPARED[self.sign](value, self.number)


class _Not(msgspec.Struct, frozen=True, tag=True):
    """The term does not hold."""

    term: "_Term"

    def holds(self, get: Get, texts: Sequence[str]) -> bool:
        return not self.term.holds(get, texts)


_Term: TypeAlias = _Word | _Fuzzy | _Within | _OneOf | _Compared | _Not


class Filter(msgspec.Struct, frozen=True):
    """What `parse` made of a text; `text` is what to parse for the same again."""

    text: str
    _terms: tuple[_Term, ...]

    def __bool__(self) -> bool:
        """Whether it keeps anything back."""
        return bool(self._terms)

    def matches(self, get: Get, texts: Iterable[str]) -> bool:
        """Whether a row is kept: `get` gives its fields' values, `texts` is what it shows."""
        folded = [text.casefold() for text in texts] if self._terms else []
        return all(term.holds(get, folded) for term in self._terms)


def parse(text: str, fields: Mapping[str, Kind]) -> Filter:
    """What a filter over rows with these fields means; raises `FilterInvalid`."""
    return Filter(text.strip(), tuple(_term(term, fields) for term in _split(text)))


# Characters, each with whether it stood in quotes, where it means nothing but itself.
_Spelled: TypeAlias = Sequence[tuple[str, bool]]


def _split(text: str) -> list[_Spelled]:
    """The terms. Each quote that opens leaves an empty piece, so that `""` is a term too."""
    terms: list[_Spelled] = []
    term: list[tuple[str, bool]] = []
    quoted = False
    for character in text:
        if character == '"':
            quoted = not quoted
            if quoted:
                term.append(("", True))
        elif quoted or not character.isspace():
            term.append((character, quoted))
        elif term:
            terms.append(term)
            term = []
    if quoted:
        message = 'a quote is not closed: write " before and after'
        raise FilterInvalid(message)
    return [*terms, term] if term else terms


def _term(term: _Spelled, fields: Mapping[str, Kind]) -> _Term:
    turned = 0
    while turned < len(term) and term[turned] == ("!", False):
        turned += 1
    # However many there are, two of them undo each other.
    found = _plain_term(term[turned:], fields)
    return _Not(found) if turned % 2 else found


def _plain_term(term: _Spelled, fields: Mapping[str, Kind]) -> _Term:
    if term and term[0] == ("~", False):
        return _Fuzzy(_word(term[1:], "~"))
    for at, piece in enumerate(term):
        if piece == (":", False):
            return _field_term(_text(term[:at]), term[at + 1 :], fields)
    return _Word(_word(term, "!"))


def _field_term(named: str, value: _Spelled, fields: Mapping[str, Kind]) -> _Term:
    folded = named.casefold()
    field = next((name for name in fields if name.casefold() == folded), None)
    if field is None:
        known = ", ".join(fields)
        message = f"there is no field {_short(named)}; those there are: {known}"
        raise FilterInvalid(message)
    sign = next((sign for sign in _COMPARED if _begins(value, sign)), "")
    wanted, kind = value[len(sign) :], fields[field]
    if not wanted:
        message = f"{field}:{sign} needs a value after it"
        raise FilterInvalid(message)
    if kind != "text":
        return _Compared(field, sign or "=", _number(field, _text(wanted), kind))
    word = _text(wanted).casefold()
    if sign == "=":
        return _OneOf(field, frozenset({word}))
    if sign:
        message = f"{field} is text, which {sign} cannot compare; write {field}:word"
        raise FilterInvalid(message)
    if field == _STATE and word in _STATES:
        return _OneOf(field, _STATES[word])
    return _Within(field, word)


def _number(field: str, text: str, kind: Kind) -> float:
    match, units = _NUMBER.fullmatch(text), _UNITS[kind]
    if not match or match[2] not in units:
        message = f"{_short(text)} is nothing that {field} can be; {_RIGHT[kind]}"
        raise FilterInvalid(message)
    return float(match[1]) * units[match[2]]


def _word(term: _Spelled, before: str) -> str:
    """What to look for; raises `FilterInvalid` where there is nothing."""
    word = _text(term).casefold()
    if not word:
        message = f"a word to look for is missing after {before}" if not term else "a word is empty"
        raise FilterInvalid(message)
    return word


def _text(term: _Spelled) -> str:
    return "".join(character for character, _ in term)


def _begins(term: _Spelled, sign: str) -> bool:
    return list(term[: len(sign)]) == [(character, False) for character in sign]


def _in_order(letters: str, text: str) -> bool:
    left = iter(text)
    return all(letter in left for letter in letters)


def _shown(value: str | float | None) -> str:
    if value is None:
        return ""
    return value.casefold() if isinstance(value, str) else str(value)


def _short(text: str) -> str:
    return repr(text[: limits.NAME_CHARS_MAX])
