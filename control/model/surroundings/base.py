"""Owns what surrounds a template: what its value becomes where it stands, or why none may stand.

A kind declares the surroundings of its params; a param without any holds plain data. Validation
asks for `problems`, the worker calls `fill_in`, and both decide by the same code.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from control.model.errors import JobFailed
from control.model.json_values import Json, Path, write_path
from control.model.templates import OPENING, Renderer


class Misplaced(NamedTuple):
    """A template that stands where a value would become code."""

    path: Path  # Inside the param.
    message: str
    hint: str  # What to write instead.


class Surroundings(ABC):
    """What stands around the templates of one param of a kind."""

    @abstractmethod
    def problems(self, value: Json, params: Mapping[str, Json]) -> Iterator[Misplaced]:
        """Yield each template that is refused; `value` is one of the unfilled `params`."""

    @abstractmethod
    def insert(self, value: Json, params: Mapping[str, Json], renderer: Renderer) -> Json:
        """Fill in a value without problems; raises JobFailed when a value does not fit."""

    def fill_in(self, value: Json, params: Mapping[str, Json], renderer: Renderer) -> Json:
        """Fill in the templates of a value; raises JobFailed, also for what `problems` yields.

        Validation refuses that first, but not in definitions that were stored by older versions.
        """
        for problem in self.problems(value, params):
            at = f" (at {write_path(problem.path)})" if problem.path else ""
            raise JobFailed(f"{problem.message}{at}; {problem.hint}")
        return self.insert(value, params, renderer)


class Data(Surroundings):
    """Plain JSON: values are inserted as they are, of whatever type."""

    def problems(self, value: Json, params: Mapping[str, Json]) -> Iterator[Misplaced]:  # noqa: ARG002 - The interface of all surroundings.
        """Nothing: data may be anywhere in data."""
        yield from ()

    def insert(self, value: Json, params: Mapping[str, Json], renderer: Renderer) -> Json:  # noqa: ARG002 - As above.
        """Fill in every string inside the value."""
        return renderer.value(value)


class Code(Surroundings):
    """A text that decides what is executed: no template may stand in it."""

    def __init__(self, decides: str, instead: str) -> None:
        self._decides = decides
        self._instead = instead

    def problems(self, value: Json, params: Mapping[str, Json]) -> Iterator[Misplaced]:  # noqa: ARG002 - As above.
        """Each text with a template."""
        for path, text in texts(value):
            if OPENING in text:
                message = f"a template may not stand here: its value would decide {self._decides}"
                yield Misplaced(path, message, self._instead)

    def insert(self, value: Json, params: Mapping[str, Json], renderer: Renderer) -> Json:  # noqa: ARG002 - As above.
        """Nothing to fill in."""
        return value


DATA: Final = Data()


def texts(value: Json, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Yield every string inside a value, without keys of objects, and its path."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from texts(item, (*path, index))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from texts(item, (*path, key))


def scalar_texts(value: Json, renderer: Renderer) -> Json:
    """Fill in lists and objects of texts: every string in them stays a string."""
    if isinstance(value, str):
        return renderer.text(value)
    if isinstance(value, list):
        return [scalar_texts(item, renderer) for item in value]
    if isinstance(value, dict):
        return {key: scalar_texts(item, renderer) for key, item in value.items()}
    return value
