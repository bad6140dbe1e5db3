"""Owns how users' queries are carried out: a copy of the facts, and a process for each query.

The process is ended when its time is over, when its call is cancelled, and when the control plane
stops: nothing of a query is ever waited for.
"""

import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec
import trio

from control.model import limits
from control.model.errors import Rejected
from store.facts.query_process import OK, REFUSED, Request

Copy = Callable[[], Awaitable[tuple[Path, Sequence[str]]]]
"""Brings the copy up to date; gives its directory, and its files."""

_COMMAND: Final = (sys.executable, "-P", "-m", "store.facts.query_process")
_ANSWER_BYTES_MAX: Final = 2 * limits.QUERY_BYTES_MAX


class UserQueries:
    """Carries out queries; the caller bounds how many run at once."""

    def __init__(self, copy: Copy) -> None:
        self._copy = copy

    async def query(self, sql: str, limit: int, timeout_s: float = limits.QUERY_S) -> bytes:
        """A `QueryResult` in JSON; raises `Rejected`, and `StoreFailed` without a copy."""
        with trio.move_on_after(timeout_s):
            directory, parts = await self._copy()
            request = Request(sql=sql, limit=limit, directory=str(directory), parts=parts)
            return _read(await _run(msgspec.json.encode(request)))
        message = f"the query took longer than {timeout_s:g} s"
        raise Rejected(message)


async def _run(request: bytes) -> bytes:
    # In a session of its own: a Ctrl-C is for the control plane, which ends it.
    process = await trio.lowlevel.open_process(
        _COMMAND,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    answer = bytearray()
    try:
        async with process.stdin, process.stdout:
            try:
                await process.stdin.send_all(request)
                await process.stdin.aclose()
            except trio.BrokenResourceError:
                return b""  # It has ended before it had read all.
            async for piece in process.stdout:
                answer += piece
                if len(answer) > _ANSWER_BYTES_MAX:
                    return b""
        await process.wait()
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()  # It was killed: this takes no time.
    return bytes(answer)


def _read(answer: bytes) -> bytes:
    if answer[:1] == OK:
        return answer[1:]
    if answer[:1] == REFUSED:
        raise Rejected(answer[1:].decode(errors="replace"))
    message = "the query's process has ended without an answer: it took too much memory or CPU"
    raise Rejected(message)
