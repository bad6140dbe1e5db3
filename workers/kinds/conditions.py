"""Decides whether a condition, an expression in CEL, holds for an answer.

An expression can work for as long as it likes on what a server sends. So it is evaluated in a child
interpreter, as a function of the kind `Python`: only its own job waits for it, and its time-out
ends it.
"""

import sys
from pathlib import Path
from typing import Any, Final

import msgspec

from control.model.errors import JobFailed
from control.model.json_values import cut
from control.model.kinds import Job, Reporter
from workers.kinds.expressions import judge
from workers.kinds.python import Python, PythonParams

_ROOT: Final = str(Path(__file__).resolve().parents[2])


class _Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What `judge` returns."""

    holds: bool = False
    error: str | None = None


class Conditions:
    """Evaluates conditions of jobs."""

    def __init__(self) -> None:
        self._python = Python()

    async def holds(
        self, expression: str, names: dict[str, Any], job: Job, report: Reporter
    ) -> bool:
        """Return whether it holds; raises JobFailed, which says why, where that is not known."""
        call = f"{judge.__module__}:{judge.__name__}"
        params = PythonParams(
            call=call, args=[expression, names], python=sys.executable, path=_ROOT
        )
        bare = msgspec.structs.replace(job, env={})  # The job's own is meant for its own programs.
        output = (await self._python.run(bare, params, report)).output
        verdict = msgspec.json.decode(output, type=_Verdict)
        if verdict.error is not None:
            raise JobFailed(f"the condition {cut(expression)} cannot be evaluated: {verdict.error}")
        return verdict.holds

    async def aclose(self) -> None:
        """End the idle children."""
        await self._python.aclose()
