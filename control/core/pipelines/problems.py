"""Collects the problems of one input: decides their line, their number, and what was meant."""

import difflib
from collections.abc import Collection, Mapping
from itertools import islice
from typing import Final

from control.model import limits
from control.model.errors import Invalid, Problem
from control.model.json_values import Path, cut, write_path

# Comparing words is quadratic in their length; an input full of mistakes must not cost seconds.
_COMPARED_CHARS_MAX: Final = 5_000_000  # Lengths of both words, multiplied; about 0.3 s.
_LISTED_MAX: Final = 12


class Findings:
    """The problems found so far; `lines` tells where a place stands in the source.

    `written`: what stands there, where the value does not tell.
    """

    def __init__(
        self,
        lines: Mapping[Path, int] | None = None,
        written: Mapping[Path, str] | None = None,
    ) -> None:
        self.written = written or {}
        self._lines = {} if lines is None else lines  # May fill up later.
        self._problems: list[Problem] = []
        self._more = False
        self._compared_chars_left = _COMPARED_CHARS_MAX

    def __len__(self) -> int:
        return len(self._problems)

    @property
    def full(self) -> bool:
        """Whether further problems are only counted as "more"."""
        return len(self._problems) >= limits.PROBLEMS_MAX

    def add(
        self, path: Path, message: str, hint: str | None = None, *, line: int | None = None
    ) -> None:
        """Note a problem; its line, if not given, is that of the nearest place around it."""
        if self.full:
            self._more = True
            return
        line = line or self._line_of(path)
        self._problems.append(Problem(path=write_path(path), message=message, line=line, hint=hint))

    def _line_of(self, path: Path) -> int | None:
        around = (path[:length] for length in range(len(path), -1, -1))
        return next((self._lines[place] for place in around if place in self._lines), None)

    def suggest(self, word: str, known: Collection[str]) -> str | None:
        """The hint for a word that is none of the known: the nearest, or all of them."""
        if not known:
            return None
        chars = len(word) * sum(map(len, known))
        if len(word) <= limits.NAME_CHARS_MAX and chars <= self._compared_chars_left:
            self._compared_chars_left -= chars
            folded = {name.casefold(): name for name in known}
            near = difflib.get_close_matches(word.casefold(), folded, n=1)
            if near:
                return f"did you mean {cut(folded[near[0]])}?"
        return f"one of: {listing(known)}"

    def raise_if_any(self) -> None:
        """Raise Invalid when there are problems."""
        if self._problems:
            raise self.as_invalid()

    def as_invalid(self) -> Invalid:
        """The error with all problems, in the order of their lines where they have any."""
        problems = sorted(self._problems, key=lambda problem: problem.line or 0)
        if self._more:
            message = f"only the first {limits.PROBLEMS_MAX} problems are listed"
            problems.append(Problem(path="", message=message))
        return Invalid(tuple(problems))


def listing(names: Collection[str]) -> str:
    """Names for a message, cut where there are many."""
    shown = ", ".join(cut(name) for name in islice(names, _LISTED_MAX))
    return f"{shown}, …" if len(names) > _LISTED_MAX else shown
