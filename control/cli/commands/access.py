"""Owns the commands `tpctl client …` and `tpctl hook …`: who may come in."""

from typing import Annotated

import typer

from control.cli.command_context import CommandContext, command, group, place
from control.cli.commands.pipelines import Yes
from control.cli.errors import UsageError
from control.cli.output import columns
from control.cli.output.columns import Columns
from control.cli.output.formats import Format, Row
from control.cli.output.row_filter import Wanted, filtered
from control.model.api.views import ClientView, HookView
from control.model.pipelines import PRIORITY_DEFAULT
from control.model.states import Role

ClientId = Annotated[str, typer.Argument(metavar="CLIENT", help="The client's id.")]
Quota = Annotated[
    str | None, typer.Option(metavar="NUMBER|none", help="How many of its jobs; none: any number.")
]
Enabled = Annotated[
    bool | None, typer.Option("--enabled/--disabled", help="Whether it may come in.")
]
_NO_LIMIT = "none"


def add_to(app: typer.Typer) -> None:
    """Register them."""
    client = group("client", "Who may use the control plane, and how much.", app)
    command(client, "create", example="tpctl client create reports --role submitter")(create)
    command(client, "list", example="tpctl client list")(list_clients)
    command(client, "update", example="tpctl client update reports --max-queued 500")(update)
    command(client, "delete", example="tpctl client delete reports --yes")(delete)
    command(client, "rotate", example="tpctl client rotate reports")(rotate)
    hook = group("hook", "Doors through which other systems start runs.", app)
    command(hook, "create", example="tpctl hook create nightly-report")(create_hook)
    command(hook, "list", example="tpctl hook list nightly-report")(list_hooks)
    command(hook, "delete", example="tpctl hook delete nightly-report 12")(delete_hook)


def create(
    session: CommandContext,
    *,
    client: ClientId,
    role: Annotated[
        Role, typer.Option(case_sensitive=False, help="What it may do.")
    ] = Role.SUBMITTER,
    priority: Annotated[
        int, typer.Option(help="Of all its runs; smaller runs first.")
    ] = PRIORITY_DEFAULT,
    max_queued: Quota = None,
    max_running: Quota = None,
    enabled: Enabled = None,
) -> None:
    """Make a client. Its secret is shown this once."""
    body: dict[str, str | int | None] = {"client_id": client, "role": role.value}
    body |= {"priority": priority} | _terms(max_queued, max_running, enabled)
    _show_secret(session, session.api.post("/v1/clients", body))


def list_clients(session: CommandContext, wanted: Wanted = None) -> None:
    """List clients by name."""
    items = session.api.items("/v1/clients")
    rows = filtered(session.out, items, columns.CLIENTS, ClientView, wanted)
    session.out.list(rows, columns.CLIENTS, "client_id", empty="there are no clients")


def update(
    session: CommandContext,
    *,
    client: ClientId,
    role: Annotated[Role | None, typer.Option(case_sensitive=False, help="What it may do.")] = None,
    priority: Annotated[
        int | None, typer.Option(help="Of all its runs; smaller runs first.")
    ] = None,
    max_queued: Quota = None,
    max_running: Quota = None,
    enabled: Enabled = None,
) -> None:
    """Change a client; its waiting jobs are bound by the new limits too."""
    body = _terms(max_queued, max_running, enabled)
    if role is not None:
        body["role"] = role.value
    if priority is not None:
        body["priority"] = priority
    if not body:
        message = "say what to change: --role, --priority, --max-queued, --max-running, --enabled"
        raise UsageError(message)
    answer = session.api.change(place("clients", client), body)
    session.out.one(answer, columns.CLIENTS, "client_id")


def delete(session: CommandContext, client: ClientId, yes: Yes = False) -> None:
    """Delete a client that has no open runs and no pipelines."""
    session.confirm(f"Delete the client {client}?", yes=yes)
    session.api.call("DELETE", place("clients", client))
    session.out.say(f"deleted {client}")


def rotate(session: CommandContext, client: ClientId) -> None:
    """Give a client a new secret, shown this once; the old one is refused from now on."""
    _show_secret(session, session.api.post(place("clients", client, "rotate")))


def create_hook(
    session: CommandContext,
    pipeline: Annotated[str, typer.Argument(help="The pipeline it starts.")],
) -> None:
    """Make a hook. Its URL holds the token, and is shown this once."""
    response = session.api.post(place("pipelines", pipeline, "hooks"))
    url = f"{session.login.url}{response.get('path')}"
    _show_once(session, {**response, "url": url}, columns.HOOK_URL, "id", "URL")


def list_hooks(
    session: CommandContext,
    pipeline: Annotated[str, typer.Argument(help="The pipeline they start.")],
    wanted: Wanted = None,
) -> None:
    """List a pipeline's hooks, without their tokens."""
    items = session.api.items(place("pipelines", pipeline, "hooks"))
    rows = filtered(session.out, items, columns.HOOKS, HookView, wanted)
    session.out.list(rows, columns.HOOKS, "id", empty=f"{pipeline} has no hooks")


def delete_hook(
    session: CommandContext,
    pipeline: Annotated[str, typer.Argument(help="The pipeline it starts.")],
    hook: Annotated[int, typer.Argument(min=1, help="The hook's id.")],
    yes: Yes = False,
) -> None:
    """Close a hook; its URL starts nothing any more."""
    session.confirm(f"Close the hook {hook} of {pipeline}?", yes=yes)
    session.api.call("DELETE", place("pipelines", pipeline, "hooks", hook))
    session.out.say(f"closed hook {hook} of {pipeline}")


def _terms(
    max_queued: str | None, max_running: str | None, enabled: bool | None
) -> dict[str, str | int | None]:
    """The options about a client's terms; a limit of null is none."""
    terms: dict[str, str | int | None] = {}
    for name, text in (("max_queued", max_queued), ("max_running", max_running)):
        if text is None:
            continue
        if text.casefold() == _NO_LIMIT:
            terms[name] = None
        elif text.isascii() and text.isdigit():
            terms[name] = int(text)
        else:
            message = f"--{name.replace('_', '-')} {text!r}: write a number, or none"
            raise UsageError(message)
    if enabled is not None:
        terms["enabled"] = enabled
    return terms


def _show_secret(session: CommandContext, client: Row) -> None:
    _show_once(session, client, columns.CLIENT_SECRET, "client_id", "secret")


def _show_once(session: CommandContext, row: Row, shown: Columns, name: str, what: str) -> None:
    out = session.out
    out.details(row, shown, name)
    if out.format == Format.NAME:
        out.say(f"-o name does not show the {what}, which could be seen only now")
    else:
        out.say(f"keep the {what}: it is not shown again")
