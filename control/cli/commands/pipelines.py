"""Owns the commands `tpctl pipeline …`."""

from typing import TYPE_CHECKING, Annotated, Final

import msgspec
import typer

from control.cli.command_context import CommandContext, command, group, place, report
from control.cli.errors import ExitCode, exit_code
from control.cli.output import columns
from control.cli.output.formats import Format
from control.cli.output.row_filter import Wanted, filtered
from control.model.api.views import PipelineView
from control.model.errors import Forbidden, Invalid, NotFound, Problem, TaskplaneError

if TYPE_CHECKING:
    from control.cli.client import Row
    from control.cli.commands import offline

Files = Annotated[
    list[str], typer.Argument(metavar="FILE…", help="YAML or JSON files; - is stdin.")
]
Name = Annotated[str, typer.Argument(help="The pipeline's name.")]
# Every worker has them, unless it was started for others: no server is asked because of these.
_EVERYWHERE: Final = frozenset({"Shell", "Python", "HTTP", "Sleep", "Pipeline"})
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def add_to(app: typer.Typer) -> None:
    """Register them."""
    pipeline = group("pipeline", "Definitions of pipelines.", app)
    command(pipeline, "validate", example="tpctl pipeline validate nightly.yaml")(validate)
    command(pipeline, "apply", example="tpctl pipeline apply nightly.yaml weekly.yaml")(apply)
    command(pipeline, "list", example="tpctl pipeline list")(list_pipelines)
    command(pipeline, "show", example="tpctl pipeline show nightly-report -o yaml")(show)
    command(pipeline, "delete", example="tpctl pipeline delete nightly-report --yes")(delete)


def validate(session: CommandContext, files: Files) -> None:
    """Find every problem of pipeline files. Needs no server: the kinds are those installed here."""
    from control.cli.commands import offline  # noqa: PLC0415 - it loads every kind.

    out, kinds, worst = session.out, offline.kinds(), ExitCode.OK
    for name in files:
        file = offline.read_file(name)
        try:
            pipeline = file.pipeline(kinds)
        except Invalid as error:
            worst = exit_code(error)
            report(error, file.name)
            if not out.is_table and out.format != Format.NAME:
                problems = [msgspec.to_builtins(problem) for problem in error.problems]
                out.document({"file": file.name, "valid": False, "problems": problems})
            continue
        from control.core.pipelines.requirements import targets_of  # noqa: PLC0415 - as above.

        targets = targets_of(pipeline)
        if targets or any(job.kind not in _EVERYWHERE for job in pipeline.jobs):
            _ask_server(session, file, needed=bool(targets))
        if out.is_table:
            out.write_safely(
                f"{file.name}: {pipeline.name} is valid: {_count(len(pipeline.stages), 'stage')},"
                f" {_count(len(pipeline.jobs), 'job')}"
            )
        elif out.format == Format.NAME:
            out.write_safely(pipeline.name)
        else:
            plain = msgspec.json.decode(msgspec.json.encode(pipeline))
            out.document({"file": file.name, "valid": True, "pipeline": plain})
    if worst:
        raise typer.Exit(worst)


def _ask_server(session: CommandContext, file: "offline.PipelineFile", *, needed: bool) -> None:
    """Say which pipelines that it starts are not there, and which kinds no worker has.

    `needed`: say so when there is no server that could know.
    """
    from control.cli.client import row_of  # noqa: PLC0415 - httpx takes 150 ms.

    try:
        answer = session.api.call(
            "POST", "/v1/pipelines/validate", content=file.body, media=file.media
        )
    except (Forbidden, Invalid) as error:
        session.out.say(f"{file.name}: warning: the server would refuse it: {error}")
    except TaskplaneError as error:
        if needed:
            session.out.say(f"{file.name}: what it starts was not looked up: {error}")
    else:
        _say_warnings(session, file, row_of(answer.content))


def _say_warnings(session: CommandContext, file: "offline.PipelineFile", answer: "Row") -> None:
    warnings = answer.get("warnings")
    for warning in msgspec.convert(warnings or [], list[Problem]):
        session.out.say(f"{file.name}: warning: {warning.path}: {warning.message}")


def apply(session: CommandContext, files: Files) -> None:
    """Store pipelines: create them, or make their next revision. The same twice changes nothing."""
    from control.cli.commands import offline  # noqa: PLC0415 - it loads cron and YAML.

    first_error = ExitCode.OK
    for name in files:
        file = offline.read_file(name)
        try:
            _apply(session, file)
        except TaskplaneError as error:
            # The other files are still worth applying.
            report(error, file.name)
            first_error = first_error or exit_code(error)
    if first_error:
        raise typer.Exit(first_error)


def _apply(session: CommandContext, file: "offline.PipelineFile") -> None:
    from control.cli.client import row_of  # noqa: PLC0415 - httpx takes 150 ms.

    value = file.document().value
    named = value.get("name") if isinstance(value, dict) else None
    # Without a name there is no place to put it to; the check says what else is wrong.
    if not isinstance(named, str) or not named:
        session.api.call("POST", "/v1/pipelines/validate", content=file.body, media=file.media)
    where = place("pipelines", str(named))
    try:
        before = session.api.get(where).get("revision")
    except NotFound:
        before = None
    answer = session.api.call("PUT", where, content=file.body, media=file.media)
    stored = row_of(answer.content)
    _say_warnings(session, file, stored)
    now = stored.get("revision")
    effect = "created" if before is None else "unchanged" if before == now else "changed"
    if session.out.is_table:
        session.out.write_safely(f"{named}: {effect}, revision {now}")
    else:
        session.out.one({**stored, "effect": effect}, columns.PIPELINES, "name")


def list_pipelines(session: CommandContext, wanted: Wanted = None) -> None:
    """List pipelines by name."""
    items = session.api.items("/v1/pipelines")
    rows = filtered(session.out, items, columns.PIPELINES, PipelineView, wanted)
    session.out.list(rows, columns.PIPELINES, "name", empty="there are no pipelines")


def show(session: CommandContext, name: Name) -> None:
    """Show a pipeline's definition as a file that `apply` takes; with -o json, all about it."""
    response = session.api.get(place("pipelines", name))
    if session.out.wanted in {None, Format.YAML}:
        session.out.yaml(response.get("definition"))
    else:
        session.out.one(response, columns.PIPELINES, "name")


def delete(session: CommandContext, name: Name, yes: Yes = False) -> None:
    """Delete a pipeline with its schedules and hooks; its runs stay."""
    session.confirm(f"Delete the pipeline {name} with its schedules and hooks?", yes=yes)
    session.api.call("DELETE", place("pipelines", name))
    session.out.say(f"deleted {name}")


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
