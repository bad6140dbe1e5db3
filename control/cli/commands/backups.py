"""Owns the commands `tpctl backup` and `tpctl restore`, for the machine of the control plane."""

import os
import time
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Final

import typer

from control.cli.command_context import CommandContext, command
from control.cli.commands.pipelines import Yes
from control.model.config import default_data_dir
from control.model.names import BACKUPS_FOLDER
from control.model.times import to_rfc3339

_PRIVATE: Final = 0o077  # All that is made is for its owner only.


def add_to(app: typer.Typer) -> None:
    """Register them."""
    command(app, "backup", example="tpctl backup --to /backups/monday.tar.gz")(backup)
    command(app, "restore", example="tpctl restore /backups/monday.tar.gz --yes")(restore)


def backup(
    session: CommandContext,
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="FILE", help="Default: backups/ in the data directory."),
    ] = None,
) -> None:
    """Write a backup of the data directory: state, facts, logs, and the admin's credentials.

    The control plane may run meanwhile. The file is checked once it is written. It has secrets in
    it: keep it as safe as the data directory, where jobs of the local worker cannot read it.
    """
    from control.process import backups  # noqa: PLC0415 - DuckDB takes 100 ms, which help need not wait for.

    directory = session.world.data_dir or default_data_dir(session.world.environ)
    now_ms = session.now_ms()
    name = f"taskplane-{to_rfc3339(now_ms)[:19].replace(':', '').replace('-', '')}Z.tar.gz"
    os.umask(_PRIVATE)
    folder = directory.absolute() / BACKUPS_FOLDER
    target = folder / name if to is None else to.absolute()

    def export_from_server(path: Path) -> None:
        with (
            session.api.stream("/v1/stats/export", {"format": "parquet"}, media="*/*") as pieces,
            path.open("wb") as file,
        ):
            for piece in pieces:
                file.write(piece)

    with backups.facts_of_stopped(directory) as export:
        if to is None:
            folder.mkdir(exist_ok=True)
        made = backups.create(
            directory,
            target,
            export or export_from_server,
            version=version("taskplane"),
            now_ms=now_ms,
            pause=None if export else time.sleep,
        )
    size = target.stat().st_size
    session.out.say(f"wrote {target}: {size:,} bytes, up to run {made.last_run_id}; it is whole")
    if directory.absolute() not in target.parents:
        session.out.say("jobs of the same user can read it there: the local worker's, say")


def restore(
    session: CommandContext,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `tpctl backup` wrote.")],
    check: Annotated[bool, typer.Option("--check", help="Only say whether it is whole.")] = False,
    yes: Yes = False,
) -> None:
    """Put a backup into the data directory of a stopped control plane.

    What is there is moved aside, not deleted. Runs that were submitted after the backup are not
    known any more; jobs that were open in it run once more. New runs have ids that were never used.
    """
    from control.process import backups  # noqa: PLC0415 - see `backup`.
    from store import archive  # noqa: PLC0415

    if check:
        manifest = archive.read(file)
        session.out.say(
            f"{file} is whole: of {manifest.created_at}, up to run {manifest.last_run_id}, "
            f"{len(manifest.files)} files, by version {manifest.version}"
        )
        return
    directory = session.world.data_dir or default_data_dir(session.world.environ)
    os.umask(_PRIVATE)
    session.confirm(f"Replace the data in {directory} by {file}?", yes=yes)
    manifest, aside = backups.restore(file.absolute(), directory, now_ms=session.now_ms())
    session.out.say(
        f"restored {directory}: of {manifest.created_at}, up to run {manifest.last_run_id}"
    )
    if aside is not None:
        session.out.say(f"what was there is in {aside}")
    session.out.say("start it as before: `tpctl up`; `tpctl doctor` says what a restore means")
