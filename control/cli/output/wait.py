"""Decides how a command waits for a run: what it shows meanwhile, and how it ends."""

import sys
from typing import Annotated

import msgspec
import typer

from control.cli.command_context import CommandContext, place
from control.cli.errors import ExitCode, UsageError, WaitTimedOut
from control.cli.output import columns
from control.cli.output.formats import Row
from control.cli.output.logs import LogWriter
from control.model.states import State

Timeout = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="Wait no longer (30s, 10m, 2h); exit code 6 then."),
]
_FAILURES_SHOWN_MAX = 5


class WaitCondition(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for."""

    wait: bool = False
    logs: bool = False
    detach: bool = False
    timeout_s: float | None = None

    def __post_init__(self) -> None:
        if self.detach and (self.wait or self.logs):
            message = "--detach does not wait; leave it out, or --wait and --logs"
            raise UsageError(message)

    @property
    def waits(self) -> bool:
        """Whether to wait."""
        return self.wait or self.logs or (self.timeout_s is not None and not self.detach)


def wait_for_run(session: CommandContext, run_id: int, wanted: WaitCondition) -> None:
    """Wait for a run's end and show it; exits with 1 if it did not end well."""
    from control.cli.output.progress import Bars, ProgressLines  # noqa: PLC0415 - see below.
    from control.cli.output.watch import Interest, wait  # noqa: PLC0415 - trio takes 150 ms.

    out = session.out
    bars = sys.stderr.isatty() and not wanted.logs
    progress = Bars(out) if bars else ProgressLines(out)
    interest = Interest(
        changed=progress.show,
        away=lambda why: out.say(f"{why}; waiting for it to come back"),
        log=(lambda job, _: log_writer(session, job)) if wanted.logs else None,
    )
    try:
        run = wait(session.login, run_id, interest, timeout_s=wanted.timeout_s)
    except (KeyboardInterrupt, WaitTimedOut):
        progress.close()
        out.say(f"still running: tpctl run watch {run_id}")
        raise
    finally:
        progress.close()
    # With logs on stdout a table would be mistaken for one of them.
    if not (wanted.logs and out.is_table):
        out.one(run, columns.RUNS, "id")
    _say_end(session, run)


def log_writer(session: CommandContext, job: str) -> LogWriter:
    """Where a job's log goes: to stdout, unless that is reserved for data."""
    return LogWriter(session.out, prefix=job, to_stderr=not session.out.is_table)


def _say_end(session: CommandContext, run: Row) -> None:
    state, reason = run.get("state"), run.get("reason")
    session.out.say(f"run {run.get('id')} ended: {state}{f' — {reason}' if reason else ''}")
    if state == State.DONE:
        return
    path = place("runs", str(run.get("id")), "jobs")
    failed = [job for job in session.api.items(path) if job.get("state") == State.ERROR]
    for job in failed[:_FAILURES_SHOWN_MAX]:
        why = job.get("error") or job.get("reason")
        session.out.say(f"  {job.get('name')}: {why}; its log: tpctl job logs {job.get('id')}")
    raise typer.Exit(ExitCode.ENDED_BADLY)
