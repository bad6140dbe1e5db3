"""Owns the waiting for a run: its state is asked for again and again, its logs are streamed.

The pauses between questions grow from 0.1 to 1 s while nothing changes. A control plane that
restarts is waited for, since runs outlive it.
"""

import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, Protocol

import httpx
import msgspec
import trio

from control.cli.client import STREAMING, Query, Row, asked, broken, options, refusal, row_of
from control.cli.command_context import place
from control.cli.credentials import Login
from control.cli.errors import Unreachable, WaitTimedOut
from control.model import limits
from control.model.errors import NotFound, TaskplaneError, Unavailable
from control.model.states import FINAL, State

_PAUSE_MIN_S: Final = 0.1
_PAUSE_MAX_S: Final = 1.0
_PAUSE_GROWS: Final = 1.5
_AWAY_S: Final = 60.0  # How long a control plane may be away.
_AWAY: Final = (Unreachable, Unavailable)
_LAST_S: Final = 10.0  # How long a log may be silent once its run has ended.
_STREAMS_MAX: Final = 32  # Logs followed at once.
_BEFORE_S: Final = 2.0  # How long the log of the attempt before may keep this one's waiting.


class _Job(msgspec.Struct, frozen=True, kw_only=True):
    """What is needed of a job to stream its logs."""

    id: int
    name: str
    state: State
    attempt: int
    started_at: str | None = None


class _Jobs(msgspec.Struct, frozen=True, kw_only=True):
    items: tuple[_Job, ...]
    next_cursor: str | None = None


class Sink(Protocol):
    """Takes one attempt's log."""

    def feed(self, piece: bytes) -> None:
        """Take a piece."""

    def finish(self) -> None:
        """That was all."""


class Interest(msgspec.Struct, frozen=True, kw_only=True):
    """What the user who waits wants to see."""

    changed: Callable[[Row], None]  # The run, whenever it looks different.
    away: Callable[[str], None]  # The control plane cannot be reached; once each time.
    log: Callable[[str, int], Sink] | None = None  # A sink for the log of (job, attempt).
    job: str | None = None  # Only this one.


def wait(login: Login, run_id: int, interest: Interest, *, timeout_s: float | None) -> Row:
    """Wait until a run (or the job of interest) has ended; raises ours, and `WaitTimedOut`."""
    failed: BaseException | None = None
    try:
        return trio.run(_wait, login, run_id, interest, timeout_s)
    except* (TaskplaneError, KeyboardInterrupt, BrokenPipeError) as group:
        failed = _first(group)
    raise failed


async def _wait(login: Login, run_id: int, interest: Interest, timeout_s: float | None) -> Row:
    with trio.move_on_after(math.inf if timeout_s is None else timeout_s):
        async with httpx.AsyncClient(**options(login)) as http:
            return await _Watch(http, login, run_id, interest).run()
    message = f"run {run_id} has not ended within {timeout_s:g} s"
    raise WaitTimedOut(message)


class _Watch:
    def __init__(
        self, http: httpx.AsyncClient, login: Login, run_id: int, interest: Interest
    ) -> None:
        self._http = http
        self._login = login
        self._run_id = run_id
        self._interest = interest
        self._last: trio.CancelScope | None = None  # Set once only logs are still to come.
        self._met = False  # Whether the control plane has ever answered.
        self._begun: dict[int, int] = {}  # Each job's last attempt whose log is being streamed.
        self._log_ends: dict[int, trio.Event] = {}  # By job: all of its log is written.
        self._streams = trio.CapacityLimiter(_STREAMS_MAX)

    async def run(self) -> Row:
        """Watch until the end."""
        async with trio.open_nursery() as nursery:
            run = await self._poll(nursery)
            self._last = nursery.cancel_scope
            self._last.deadline = trio.current_time() + _LAST_S
        return run

    async def _poll(self, nursery: trio.Nursery) -> Row:
        shown: Row | None = None
        pause_s = _PAUSE_MIN_S
        while True:
            run = await self._get(place("runs", self._run_id))
            ended = run.get("state") in FINAL
            if run != shown:
                self._interest.changed(run)
                shown, pause_s = run, _PAUSE_MIN_S
                # A job cannot begin or end without a change in its run's counts.
                if self._interest.log is not None:
                    jobs = await self._jobs()
                    self._stream_new(jobs, nursery)
                    ended = ended or _all_ended(jobs, self._interest.job)
            if ended:
                return run
            await trio.sleep(pause_s)
            pause_s = min(pause_s * _PAUSE_GROWS, _PAUSE_MAX_S)

    async def _get(self, path: str, query: Query | None = None) -> Row:
        """A value; a control plane that has been there before is waited for."""
        deadline = trio.current_time() + _AWAY_S
        noted = False
        while True:
            try:
                answer = await self._http.get(path, params=asked(query or {}))
                if answer.is_success:
                    self._met = True
                    return row_of(answer.content)
                gone = refusal(self._login, answer.status_code, answer.content, None)
            except httpx.HTTPError as error:
                gone = broken(self._login, error)
            if not self._met or not isinstance(gone, _AWAY) or trio.current_time() > deadline:
                raise gone
            if not noted:
                self._interest.away(str(gone))
                noted = True
            await trio.sleep(_PAUSE_MAX_S)

    async def _jobs(self) -> list[_Job]:
        """The jobs of interest."""
        jobs: list[_Job] = []
        cursor: str | None = None
        while True:
            query = {"limit": limits.PAGE_MAX, "cursor": cursor}
            page = msgspec.convert(
                await self._get(place("runs", self._run_id, "jobs"), query), _Jobs
            )
            jobs += page.items
            cursor = page.next_cursor
            if cursor is None:
                break
        wanted = self._interest.job
        if wanted is None:
            return jobs
        if all(job.name != wanted for job in jobs):
            message = f"run {self._run_id} has no job {wanted}"
            raise NotFound(message)
        return [job for job in jobs if job.name == wanted]

    def _stream_new(self, jobs: list[_Job], nursery: trio.Nursery) -> None:
        """Begin with the logs of attempts that have started since."""
        for job in jobs:
            # A waiting job's newest attempt has nothing to say yet; those before it have.
            last = job.attempt if job.started_at is not None else job.attempt - 1
            for attempt in range(self._begun.get(job.id, 0) + 1, last + 1):
                self._begun[job.id] = attempt
                before, written = self._log_ends.get(job.id), trio.Event()
                self._log_ends[job.id] = written
                nursery.start_soon(self._stream_after, before, job, attempt, written)

    async def _stream_after(
        self, before: trio.Event | None, job: _Job, attempt: int, written: trio.Event
    ) -> None:
        """Write attempts in their order, though a log whose end was lost delays none."""
        try:
            if before is not None:
                with trio.move_on_after(_BEFORE_S):
                    await before.wait()
            await self._stream(job, attempt)
        finally:
            written.set()

    async def _stream(self, job: _Job, attempt: int) -> None:
        assert self._interest.log is not None
        sink = self._interest.log(job.name, attempt)
        seen = 0
        try:
            async with self._streams:
                while True:
                    skip = seen  # After a break the log comes from its begin again.
                    try:
                        async with self._follow(job.id, attempt) as pieces:
                            async for piece in pieces:
                                fresh = piece[skip:]
                                skip = max(skip - len(piece), 0)
                                seen += len(fresh)
                                if fresh:
                                    sink.feed(fresh)
                                if self._last is not None:
                                    self._last.deadline = trio.current_time() + _LAST_S
                    except (httpx.HTTPError, Unavailable):
                        # Whether it stays away is for the one who asks for the run to find out.
                        await trio.sleep(_PAUSE_MAX_S)
                    except NotFound:
                        break  # Deleted meanwhile.
                    else:
                        break
        finally:
            sink.finish()

    @asynccontextmanager
    async def _follow(self, job_id: int, attempt: int) -> AsyncIterator[AsyncIterator[bytes]]:
        query = {"follow": "true", "attempt": str(attempt)}
        async with self._http.stream(
            "GET", place("jobs", job_id, "logs"), params=query, timeout=STREAMING
        ) as answer:
            if not answer.is_success:
                body = await answer.aread()
                raise refusal(self._login, answer.status_code, body, None)
            yield answer.aiter_bytes()


def _all_ended(jobs: list[_Job], wanted: str | None) -> bool:
    """Whether the one job of interest has ended, though its run has not."""
    return wanted is not None and all(job.state in FINAL for job in jobs)


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
