"""Owns the engines without a server, SQLite and DuckDB: a statement has a child interpreter.

An engine executes inside of the process that calls it, which a statement can crash. So it is called
as a function of the kind `Python`: only its own job fails then, and a job that is stopped kills it.
What was not committed is rolled back by the file's own log when it is opened again.
"""

import os
import sys
from collections import defaultdict
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import trio

from control.model import limits
from control.model.errors import JobFailed
from control.model.kinds import Job, Reporter
from workers.kinds.python import Python, PythonParams
from workers.kinds.query.embedded_child import Reply, ask
from workers.kinds.query.execution import Answered

if TYPE_CHECKING:
    from sqlalchemy import URL

_ROOT: Final = str(Path(__file__).resolve().parents[3])
# A reply comes as a text in JSON, where quotes and backslashes of its own JSON are escaped.
_REPLY_BYTES_MAX: Final = 2 * (limits.OUTPUT_BYTES_MAX + 64 * limits.KIB)


class EmbeddedEngines:
    """Executes statements of jobs in child interpreters."""

    def __init__(self) -> None:
        self._python = Python(output_bytes_max=_REPLY_BYTES_MAX)
        self._files: defaultdict[Path, trio.Lock] = defaultdict(trio.Lock)

    async def execute(
        self, url: "URL", arguments: dict[str, Any], job: Job, report: Reporter
    ) -> Answered:
        """Call `ask` with these arguments; raises JobFailed."""
        # Neither engine knows a password, so none leaves the worker.
        plain = url._replace(password=None).render_as_string()
        params = PythonParams(
            call=f"{ask.__module__}:{ask.__name__}",
            kwargs={"url": plain, "directory": os.getcwd(), **arguments},
            python=sys.executable,
            path=_ROOT,
        )
        bare = msgspec.structs.replace(job, env={})  # The job's own is meant for its own programs.
        async with self._turn(url):
            try:
                output = (await self._python.run(bare, params, report)).output
            except JobFailed as error:
                raise JobFailed(f"the statement's own process failed: {error}") from error
        reply = msgspec.json.decode(msgspec.json.decode(output, type=str), type=Reply)
        if reply.answered is None:
            raise JobFailed(reply.error, final=reply.final)
        return reply.answered

    async def aclose(self) -> None:
        """End the idle children."""
        await self._python.aclose()

    def _turn(self, url: "URL") -> "trio.Lock | nullcontext[None]":
        """DuckDB refuses a file that another process may write to: whose turn it is."""
        shared = url.get_backend_name() != "duckdb" or url.query.get("access_mode") == "read_only"
        return (
            nullcontext()
            if shared or not url.database
            else self._files[Path(url.database).resolve()]
        )
