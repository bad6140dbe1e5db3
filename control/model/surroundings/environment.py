"""Decides which variables of a job's environment may hold values: not those that are executed."""

from collections.abc import Iterator, Mapping
from typing import Final

from control.model.json_values import Json
from control.model.surroundings.base import Misplaced, Surroundings
from control.model.surroundings.program_tables import is_code_variable
from control.model.templates import OPENING, Renderer

_INSTEAD: Final = "write it without a template, or use a variable that no program executes"


class Environment(Surroundings):
    """An object of variables."""

    def problems(self, value: Json, params: Mapping[str, Json]) -> Iterator[Misplaced]:  # noqa: ARG002 - The interface of all surroundings.
        """Each variable whose text programs execute or evaluate."""
        for name, text in value.items() if isinstance(value, dict) else ():
            if isinstance(text, str) and OPENING in text and is_code_variable(name):
                message = f"a value in {name} would become code: programs execute or evaluate it"
                yield Misplaced((name,), message, _INSTEAD)

    def insert(self, value: Json, params: Mapping[str, Json], renderer: Renderer) -> Json:  # noqa: ARG002 - As above.
        """Every value becomes a text."""
        if not isinstance(value, dict):
            return value
        return {
            name: renderer.text(text) if isinstance(text, str) else text
            for name, text in value.items()
        }


ENVIRONMENT: Final = Environment()
