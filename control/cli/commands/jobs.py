"""Owns the commands `tpctl job …`, and `tpctl run logs`, which is about jobs' logs too."""

from typing import Annotated

import msgspec
import typer

from control.cli.command_context import CommandContext, command, group, place
from control.cli.commands.runs import RunId
from control.cli.errors import ServerFailed
from control.cli.output import columns
from control.cli.output.formats import Row
from control.cli.output.logs import LogWriter
from control.cli.output.wait import log_writer
from control.model.errors import NotFound
from control.model.limits import PRIORITY_ABS_MAX

JobId = Annotated[int, typer.Argument(metavar="JOB", min=1, help="The job's id.")]
JobIds = Annotated[list[int], typer.Argument(metavar="JOB…", min=1, help="Ids of jobs.")]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Go on until it has ended.")]


def add_to(app: typer.Typer, run: typer.Typer) -> None:
    """Register them."""
    job = group("job", "The smallest units of work.", app)
    command(job, "show", example="tpctl job show 90210")(show)
    command(job, "logs", example="tpctl job logs 90210 --follow")(logs)
    command(job, "cancel", example="tpctl job cancel 90210")(cancel)
    command(job, "priority", example="tpctl job priority 90210 5")(priority)
    command(job, "explain", example="tpctl job explain 90210")(explain)
    command(run, "logs", example="tpctl run logs 4711 --job pull-orders --follow")(run_logs)


def show(session: CommandContext, job: JobId) -> None:
    """Show a job and its earlier attempts."""
    response = session.api.get(place("jobs", job))
    session.out.details(response, columns.JOB, "id")
    attempts = response.get("attempts")
    if session.out.is_table and isinstance(attempts, list) and attempts:
        session.out.write("\nearlier attempts:")
        rows = [each for each in attempts if isinstance(each, dict)]
        session.out.list(rows, columns.ATTEMPTS, "attempt")


def logs(
    session: CommandContext,
    job: JobId,
    follow: Follow = False,
    attempt: Annotated[
        int | None, typer.Option(min=1, help="Which attempt's. Default: the newest.")
    ] = None,
) -> None:
    """Show a job's log: as it was written to a pipe, harmless to a terminal."""
    _stream(session, job, LogWriter(session.out), follow=follow, attempt=attempt)


def cancel(session: CommandContext, jobs: JobIds) -> None:
    """End jobs now."""
    responses = [session.api.post(place("jobs", job, "cancel")) for job in jobs]
    session.out.list(responses, columns.JOBS, "id")


class _Explanation(msgspec.Struct, frozen=True, kw_only=True):
    reason: str = ""
    steps: tuple[str, ...] = ()


def priority(
    session: CommandContext,
    job: JobId,
    value: Annotated[
        int,
        typer.Argument(
            metavar="PRIORITY",
            min=-PRIORITY_ABS_MAX,
            max=PRIORITY_ABS_MAX,
            help="Smaller runs first.",
        ),
    ],
) -> None:
    """Move a waiting job within its stage; a negative priority stands after `--`."""
    changed = session.api.change(place("jobs", job), {"priority": value})
    session.out.details(changed, columns.JOB, "id")


def explain(session: CommandContext, job: JobId) -> None:
    """Say why a job waits, runs, or ended."""
    response = session.api.get(place("jobs", job, "explain"))
    if not session.out.is_table:
        session.out.document(response)
        return
    explanation = msgspec.convert(response, _Explanation)
    session.out.write_safely(f"job {job}: {explanation.reason}")
    for number, step in enumerate(explanation.steps, 1):
        session.out.write_safely(f"{number:>3}. {step}")


def run_logs(
    session: CommandContext,
    run: RunId,
    job: Annotated[str | None, typer.Option(help="Only this job's, without its name.")] = None,
    follow: Follow = False,
) -> None:
    """Show the logs of a run's jobs, each line with the job's name before it."""
    if follow:
        _follow_run(session, run, job)
        return
    jobs: list[Row] = list(session.api.items(place("runs", run, "jobs")))
    wanted = [each for each in jobs if job is None or each.get("name") == job]
    if job is not None and not wanted:
        message = f"run {run} has no job {job}"
        raise NotFound(message)
    for each in wanted:
        if each.get("started_at") is not None or each.get("log_bytes"):
            name = "" if job is not None else str(each.get("name"))
            _stream(session, _id(each), LogWriter(session.out, prefix=name))


def _follow_run(session: CommandContext, run: int, job: str | None) -> None:
    from control.cli.output.watch import Interest, wait  # noqa: PLC0415 - trio takes 150 ms.

    interest = Interest(
        changed=lambda _: None,
        away=lambda why: session.out.say(f"{why}; waiting for it to come back"),
        log=lambda name, _: log_writer(session, "" if job is not None else name),
        job=job,
    )
    wait(session.login, run, interest, timeout_s=None)


def _stream(
    session: CommandContext,
    job: int,
    writer: LogWriter,
    *,
    follow: bool = False,
    attempt: int | None = None,
) -> None:
    query = {"follow": follow or None, "attempt": attempt}
    with session.api.stream(place("jobs", job, "logs"), query) as pieces:
        for piece in pieces:
            writer.feed(piece)
    writer.finish()


def _id(job: Row) -> int:
    job_id = job.get("id")
    if not isinstance(job_id, int):
        message = "the server sent a job without an id"
        raise ServerFailed(message)
    return job_id
