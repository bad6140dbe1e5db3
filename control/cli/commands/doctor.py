"""Decides whether everything here is as it should be, and says so check by check."""

import stat
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Final

import msgspec
import typer

from control.cli.command_context import CommandContext, command
from control.cli.errors import ExitCode
from control.cli.output import columns
from control.cli.output.formats import Row
from control.model.api.fleet import GONE
from control.model.api.queues import Queues, is_for_ever
from control.model.config import default_data_dir
from control.model.errors import ConfigError, Forbidden, NotFound, TaskplaneError
from control.model.names import ENV_URL, STATE_FILE
from control.model.times import from_rfc3339
from control.model.worker.isolation import Isolation

_SKEW_MAX_S: Final = 5.0
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
_MARKS: Final = {True: ("✓", "green"), False: ("✗", "bold red"), None: ("–", "dim")}
_WARNING: Final = ("!", "yellow")


class DoctorCheck(msgspec.Struct, frozen=True, kw_only=True):
    """What was looked at, whether it is well (null: it could not be or need not be), and why."""

    check: str
    ok: bool | None
    detail: str
    warning: bool = False  # Nothing is broken, but an operator should know.


class _Health(msgspec.Struct, frozen=True, kw_only=True):
    status: str
    parts: dict[str, str] = {}
    time: str | None = None
    version: str | None = None


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    items: tuple[DoctorCheck, ...]


def add_to(app: typer.Typer) -> None:
    """Register it."""
    command(app, "doctor", example="tpctl doctor --data-dir ./plane")(doctor)


def doctor(session: CommandContext) -> None:
    """Check the data directory, the server, its workers, and what it has stored.

    Exit code 5 if something is wrong.
    """
    checks: list[DoctorCheck] = []
    for check in _examine(session):
        checks.append(check)
        if session.out.is_table:
            mark = _WARNING if check.warning else _MARKS[check.ok]
            session.out.marked(*mark, f"{check.check}: {check.detail}")
    if not session.out.is_table:
        rows: list[Row] = [msgspec.to_builtins(check) for check in checks]
        session.out.list(rows, columns.CHECKS, "check")
    if any(check.ok is False for check in checks):
        raise typer.Exit(ExitCode.SERVER)


def _examine(session: CommandContext) -> Iterator[DoctorCheck]:
    directory = session.world.data_dir or default_data_dir(session.world.environ)
    yield _data_dir(session, directory)
    try:
        login = session.login
    except ConfigError as error:
        yield DoctorCheck(check="settings", ok=False, detail=str(error))
        return
    yield _credentials_file(session, login.file)
    yield from _kinds()
    reachable = yield from _server(session)
    if reachable:
        yield from _inside(session)
    elif (directory / STATE_FILE).exists():
        yield from _stored(directory / STATE_FILE)


def _data_dir(session: CommandContext, directory: Path) -> DoctorCheck:
    name = "data directory"
    try:
        mode = directory.stat().st_mode
    except OSError as error:
        elsewhere = session.world.url or session.world.environ.get(ENV_URL)
        ok = None if elsewhere else False
        return DoctorCheck(check=name, ok=ok, detail=f"{directory}: {error.strerror}")
    if mode & _OTHERS_WRITE:
        detail = f"{directory} can be changed by others; chmod go-w it"
        return DoctorCheck(check=name, ok=False, detail=detail)
    return DoctorCheck(check=name, ok=True, detail=str(directory))


def _credentials_file(session: CommandContext, file: Path) -> DoctorCheck:
    name = "credentials"
    try:
        mode = file.stat().st_mode
    except OSError as error:
        if session.login.client_id:
            detail = f"from the environment, as {session.login.client_id}"
            return DoctorCheck(check=name, ok=True, detail=detail)
        return DoctorCheck(check=name, ok=False, detail=f"{file}: {error.strerror}")
    if mode & _OTHERS:
        detail = f"{file} can be read by others; chmod 600 it"
        return DoctorCheck(check=name, ok=False, detail=detail)
    return DoctorCheck(check=name, ok=True, detail=f"{file}, as {session.login.client_id}")


def _kinds() -> Iterator[DoctorCheck]:
    from control.cli.commands import offline  # noqa: PLC0415 - it loads every kind.

    kinds = offline.kinds()
    names = kinds.names()
    detail = ", ".join(names) if names else "none is installed here"
    yield DoctorCheck(check="kinds", ok=bool(names), detail=detail)
    for each in kinds.broken:
        yield DoctorCheck(check=f"kind {each.name}", ok=False, detail=str(each))


def _server(session: CommandContext) -> Generator[DoctorCheck, None, bool]:
    """Reachability, parts, clock; gives whether it can be asked more."""
    url, before_ms = session.login.url, session.now_ms()
    try:
        answer = session.api.call("GET", "/v1/health", accepted=(503,))
        health = msgspec.json.decode(answer.content, type=_Health)
    except TaskplaneError as error:
        yield DoctorCheck(check="server", ok=False, detail=str(error))
        return False
    except msgspec.DecodeError:
        yield DoctorCheck(check="server", ok=False, detail=f"{url} is not a control plane")
        return False
    known = f", version {health.version}" if health.version else ""
    yield DoctorCheck(check="server", ok=True, detail=f"{url} answers{known}")
    down = [f"{name}: {how}" for name, how in health.parts.items() if how != "ok"]
    detail = "; ".join(down) if down else ", ".join(health.parts) or health.status
    yield DoctorCheck(check="parts", ok=not down and health.status == "ok", detail=detail)
    if health.time is not None:
        middle_ms = (before_ms + session.now_ms()) / 2
        skew_s = (from_rfc3339(health.time) - middle_ms) / 1000
        yield DoctorCheck(
            check="clock", ok=abs(skew_s) <= _SKEW_MAX_S, detail=f"the server's is {skew_s:+.1f} s"
        )
    return True


def _inside(session: CommandContext) -> Iterator[DoctorCheck]:
    """What only those with credentials may see."""
    try:
        listed = session.api.items("/v1/workers")
        workers = [row for row in listed if row.get("state") not in GONE]
    except Forbidden as error:
        yield DoctorCheck(check="workers", ok=None, detail=str(error))
    except TaskplaneError as error:
        yield DoctorCheck(check="login", ok=False, detail=str(error))
        return
    else:
        slots = sum(slots for row in workers if isinstance(slots := row.get("slots"), int))
        detail = f"{len(workers)} connected, {slots} slots" if workers else "none is connected"
        yield DoctorCheck(check="workers", ok=bool(workers), detail=detail)
        for worker in workers:
            if sick := worker.get("sick"):
                detail = f"it can start no jobs, which go to others: {sick}"
                yield DoctorCheck(check=f"worker {worker.get('id')}", ok=False, detail=detail)
        yield from map(_isolation, workers)
        yield from _unfit(session)
    try:
        response = session.api.get("/v1/doctor")
    except NotFound:
        yield DoctorCheck(check="stored data", ok=None, detail="this server has no check of it")
    except Forbidden as error:
        yield DoctorCheck(check="stored data", ok=None, detail=str(error))
    except TaskplaneError as error:
        yield DoctorCheck(check="stored data", ok=False, detail=str(error))
    else:
        yield from msgspec.convert(response, _Answer).items


def _unfit(session: CommandContext) -> Iterator[DoctorCheck]:
    """Jobs that no connected worker can run: they would wait for ever."""
    try:
        response = msgspec.convert(session.api.get("/v1/queues", limit=1), Queues)
    except TaskplaneError as error:
        yield DoctorCheck(check="waiting jobs", ok=None, detail=str(error))
        return
    unfit = [each for each in response.reasons if is_for_ever(each.reason)]
    for each in unfit:
        jobs = "1 job waits" if each.jobs == 1 else f"{each.jobs} jobs wait"
        yield DoctorCheck(check="waiting jobs", ok=False, detail=f"{jobs}: {each.reason}")
    if not unfit:
        jobs_waiting = sum(each.jobs for each in response.reasons)
        yield DoctorCheck(
            check="waiting jobs", ok=True, detail=f"{jobs_waiting}; workers can run them"
        )


def _isolation(worker: Row) -> DoctorCheck:
    """What the jobs of a worker can reach."""
    name = f"isolation of {worker.get('id')}"
    reported = worker.get("isolation")
    if reported is None:
        return DoctorCheck(
            check=name, ok=None, detail="this worker does not say; it is an older one"
        )
    isolation = msgspec.convert(reported, Isolation)
    jobs_reach = f"jobs can reach: {'; '.join(isolation.open)}"
    if isolation.warnings:
        detail = f"{'; '.join(isolation.warnings)}; {jobs_reach}"
        return DoctorCheck(check=name, ok=None, detail=detail, warning=True)
    detail = f"jobs cannot reach: {'; '.join(isolation.isolated)}; {jobs_reach}"
    return DoctorCheck(check=name, ok=True, detail=detail)


def _stored(file: Path) -> Iterator[DoctorCheck]:
    """The database itself, while no control plane answers."""
    from control.cli.commands import offline_check  # noqa: PLC0415 - it loads the store.

    findings = offline_check.examine_file(file)
    for finding in findings:
        yield DoctorCheck(check=f"stored data, {finding.rule}", ok=False, detail=finding.message)
    if not findings:
        yield DoctorCheck(check="stored data", ok=True, detail=f"{file} is sound")
