"""Owns the commands `tpctl run …` that start, list, show, and end runs."""

from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from control.cli.command_context import CommandContext, command, group, place
from control.cli.errors import UsageError
from control.cli.output import columns
from control.cli.output.formats import Row
from control.cli.output.row_filter import WantedRuns, filtered
from control.cli.output.wait import Timeout, WaitCondition, wait_for_run
from control.cli.times import duration_s, instant
from control.model import limits
from control.model.api.views import RunView
from control.model.errors import Invalid
from control.model.states import State

if TYPE_CHECKING:
    from control.model.json_values import Json

RunId = Annotated[int, typer.Argument(metavar="RUN", min=1, help="The run's id.")]
RunIds = Annotated[list[int], typer.Argument(metavar="RUN…", min=1, help="Ids of runs.")]
Input = Annotated[
    str | None,
    typer.Option("--input", metavar="JSON|@FILE|@-", help="The run's input; @- reads stdin."),
]
Priority = Annotated[int | None, typer.Option(help="Smaller runs first. Default: the pipeline's.")]
Key = Annotated[
    str | None,
    typer.Option(help="The same key again within 24 h starts no second run, but shows the first."),
]
WaitFlag = Annotated[
    bool, typer.Option("--wait", help="Until it has ended; exit code 1 if it did not end well.")
]
LogsFlag = Annotated[bool, typer.Option("--logs", help="Wait, and show the jobs' logs.")]
Detach = Annotated[bool, typer.Option("--detach", help="Do not wait. This is the default.")]


def add_to(app: typer.Typer) -> typer.Typer:
    """Register them."""
    run = group("run", "Executions of pipelines.", app)
    command(run, "start", example="tpctl run start nightly-report --input '{\"day\": 1}' --wait")(
        start
    )
    command(run, "submit", example="tpctl run submit once.yaml --input @input.json --logs")(submit)
    command(run, "list", example="tpctl run list --state ERROR --since 24h")(list_runs)
    command(run, "show", example="tpctl run show 4711")(show)
    command(run, "watch", example="tpctl run watch 4711 --timeout 10m")(watch)
    command(run, "cancel", example="tpctl run cancel 4711")(cancel)
    command(run, "retry", example="tpctl run retry 4711 --wait")(retry)
    return run


def start(
    session: CommandContext,
    *,
    name: Annotated[str, typer.Argument(help="A stored pipeline.")],
    input: Input = None,  # noqa: A002 - the option's name.
    priority: Priority = None,
    idempotency_key: Key = None,
    wait: WaitFlag = False,
    logs: LogsFlag = False,
    detach: Detach = False,
    timeout: Timeout = None,
) -> None:
    """Start a run of a stored pipeline."""
    wanted = WaitCondition(wait=wait, logs=logs, detach=detach, timeout_s=duration_s(timeout))
    body = _body(input, priority)
    _start(session, place("pipelines", name, "runs"), body, idempotency_key, wanted)


def submit(
    session: CommandContext,
    *,
    file: Annotated[str, typer.Argument(help="A pipeline file, YAML or JSON; - is stdin.")],
    input: Input = None,  # noqa: A002 - the option's name.
    priority: Priority = None,
    idempotency_key: Key = None,
    wait: WaitFlag = False,
    logs: LogsFlag = False,
    detach: Detach = False,
    timeout: Timeout = None,
) -> None:
    """Run a pipeline file once without storing it."""
    from control.cli.commands import offline  # noqa: PLC0415 - it loads cron and YAML.

    wanted = WaitCondition(wait=wait, logs=logs, detach=detach, timeout_s=duration_s(timeout))
    document = offline.read_file(file).document()
    body = {"pipeline": document.value, **_body(input, priority)}
    try:
        _start(session, place("runs"), body, idempotency_key, wanted)
    except Invalid as error:
        raise offline.with_lines(error, document, "pipeline") from error


def _start(
    session: CommandContext,
    path: str,
    body: dict[str, object],
    key: str | None,
    wanted: WaitCondition,
) -> None:
    headers = {} if key is None else {"idempotency-key": key}
    run = session.api.post(path, body, **headers)
    if not wanted.waits:
        _show_started(session, run)
        return
    wait_for_run(session, _id(run), wanted)


def _show_started(session: CommandContext, run: Row) -> None:
    session.out.one(run, columns.RUNS, "id")
    if session.out.is_table:
        session.out.say(f"to see how it goes: tpctl run watch {run.get('id')}")


def _body(text: str | None, priority: int | None) -> dict[str, object]:
    body: dict[str, object] = {}
    if text is not None:
        body["input"] = _input(text)
    if priority is not None:
        body["priority"] = priority
    return body


def _input(text: str) -> msgspec.Raw:
    """What `--input` says, or the file it names; raises `UsageError`."""
    from control.cli.commands import offline  # noqa: PLC0415 - it loads cron and YAML.

    where, body = "--input", text.encode(errors="surrogateescape")
    if text.startswith("@"):
        where, body = f"--input {text}", offline.read_bytes(text[1:])
    try:
        msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        message = f"{where}: not valid JSON: {error}"
        raise UsageError(message) from error
    return msgspec.Raw(body)


def list_runs(
    session: CommandContext,
    *,
    pipeline: Annotated[str | None, typer.Option(help="Only of this pipeline.")] = None,
    state: Annotated[
        State | None, typer.Option(case_sensitive=False, help="Only in this state.")
    ] = None,
    client: Annotated[str | None, typer.Option(help="Only of this client.")] = None,
    since: Annotated[
        str | None, typer.Option(help="Only made since: 30m, 24h, 7d, or 2026-11-22T09:30:00Z.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many.")] = limits.PAGE_DEFAULT,
    every: Annotated[bool, typer.Option("--all", help="All of them, page by page.")] = False,
    wanted: WantedRuns = None,
) -> None:
    """List runs, newest first."""
    items = session.api.items(
        "/v1/runs",
        limit=None if every or wanted is not None else limit,
        pipeline=pipeline,
        state=state,
        client=client,
        since=instant(since, session.now_ms()),
    )
    rows = filtered(
        session.out,
        items,
        columns.RUNS,
        RunView,
        wanted,
        limit=None if every else limit,
        looked_at_max=None if every else limits.FILTERED_ROWS_MAX,
    )
    session.out.list(rows, columns.RUNS, "id", empty="there are no such runs")
    if session.out.is_table and wanted is None and items.next_cursor:
        session.out.say("there may be more: --limit or --all shows them")


def show(session: CommandContext, run: RunId) -> None:
    """Show a run and its jobs."""
    response = session.api.get(place("runs", run))
    jobs: list[Json] = list(session.api.items(place("runs", run, "jobs")))
    if not session.out.is_table:
        session.out.one({**response, "jobs": jobs}, columns.RUN, "id")
        return
    session.out.details(response, columns.RUN, "id")
    session.out.write("")
    rows = [job for job in jobs if isinstance(job, dict)]
    session.out.list(rows, columns.JOBS, "id", empty="it has no jobs")


def watch(
    session: CommandContext, run: RunId, logs: LogsFlag = False, timeout: Timeout = None
) -> None:
    """Wait until a run has ended; exit code 1 if it did not end well."""
    wanted = WaitCondition(wait=True, logs=logs, timeout_s=duration_s(timeout))
    wait_for_run(session, run, wanted)


def cancel(session: CommandContext, runs: RunIds) -> None:
    """End runs now: what waits is cancelled, what runs is stopped."""
    responses = [session.api.post(place("runs", run, "cancel")) for run in runs]
    session.out.list(responses, columns.RUNS, "id")


def retry(
    session: CommandContext,
    run: RunId,
    wait: WaitFlag = False,
    logs: LogsFlag = False,
    timeout: Timeout = None,
) -> None:
    """Run the failed and cancelled jobs of a run again."""
    wanted = WaitCondition(wait=wait, logs=logs, timeout_s=duration_s(timeout))
    response = session.api.post(place("runs", run, "retry"))
    if wanted.waits:
        wait_for_run(session, run, wanted)
    else:
        _show_started(session, response)


def _id(run: Row) -> int:
    run_id = run.get("id")
    assert isinstance(run_id, int)
    return run_id
