"""Owns the commands `tpctl worker …` and `tpctl partition …`."""

from typing import Annotated

import typer

from control.cli import columns
from control.cli.session import Session, command, group, place


def add_to(app: typer.Typer) -> None:
    """Register them."""
    worker = group("worker", "Who executes jobs.", app)
    command(worker, "list", example="tpctl worker list -o json")(list_workers)
    command(worker, "drain", example="tpctl worker drain runner-1")(drain)
    partition = group("partition", "The lanes jobs wait in.", app)
    command(partition, "list", example="tpctl partition list")(list_partitions)


def list_workers(session: Session) -> None:
    """List workers, and those lost in the last ten minutes."""
    rows = session.api.items("/v1/workers")
    session.out.list(rows, columns.WORKERS, "id", empty="no worker is connected")


def drain(
    session: Session, worker: Annotated[str, typer.Argument(help="The worker's name.")]
) -> None:
    """Let a worker finish what it runs and leave."""
    found = session.api.post(place("workers", worker, "drain"))
    if session.out.is_table:
        session.out.write_safely(f"{worker}: draining")
    else:
        session.out.one(found, columns.WORKERS, "id")


def list_partitions(session: Session) -> None:
    """List partitions with their load."""
    rows = session.api.items("/v1/partitions")
    session.out.list(rows, columns.PARTITIONS, "partition", empty="there are no partitions here")
