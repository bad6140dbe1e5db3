"""Decides what an expression in CEL says; a child interpreter imports this, so it is small."""

import re
from typing import Any, Final

from control.model.json_values import cut

_SYNTAX: Final = re.compile(r"<input>:(\d+):(\d+): (?:Syntax error: )?(.*)")


def syntax_problem(expression: str) -> str | None:
    """What is wrong with an expression, with its column; None if it can be read."""
    import cel  # noqa: PLC0415 - Most processes never need it, and it takes a while.

    try:
        cel.compile(expression)
    except ValueError as error:
        match = _SYNTAX.search(str(error))
        if match is None:
            return cut(str(error))
        words = match[3].partition(" expecting ")[0]
        return f"line {match[1]}, column {match[2]}: {cut(words)}"
    return None


def judge(expression: str, names: dict[str, Any]) -> dict[str, object]:
    """Evaluate an expression; returns what `Conditions` reads."""
    import cel  # noqa: PLC0415 - As above.

    try:
        value = cel.evaluate(expression, names)
    except KeyError as error:
        return {"error": f"there is no {error}; has(…) tells whether there is"}
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        return {"error": cut(str(error))}
    if not isinstance(value, bool):
        return {"error": f"it is {cut(repr(value))}, not true or false"}
    return {"holds": value}
