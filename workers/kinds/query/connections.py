"""Decides which database the URL of a connection means, and how it is opened."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from control.model.errors import JobFailed
from control.model.worker_settings import Address
from workers.kinds.extras import needs_extra
from workers.kinds.query.duckdb_files import DuckDB
from workers.kinds.query.postgresql import PostgreSQL
from workers.kinds.query.relational import MySQL, SQLite
from workers.kinds.query.session import Session

if TYPE_CHECKING:
    from sqlalchemy import URL

_DATABASES: Final[dict[str, type[Session]]] = {
    "postgresql": PostgreSQL,
    "mysql": MySQL,
    "mariadb": MySQL,
    "sqlite": SQLite,
    "duckdb": DuckDB,
}


class Database(NamedTuple):
    """What a connection of the worker's config leads to."""

    kind: type[Session]
    open: Callable[[], Session]  # Blocks; raises the driver's errors.
    secrets: tuple[str, ...]


def database(name: str, address: Address, label: str, directory: Path) -> Database:
    """Read the URL; raises JobFailed. `label` and `directory`: of the job."""
    with needs_extra("query", "the kind Query"):
        from sqlalchemy import make_url  # noqa: PLC0415 - Loaded when a job needs it.
        from sqlalchemy.exc import ArgumentError  # noqa: PLC0415 - As above.
    try:
        url = make_url(address.url)
    except (ArgumentError, ValueError):
        msg = f"the URL of the connection {name} is none; write it like postgresql://ann@db/sales"
        raise JobFailed(msg, final=True) from None  # The cause has the URL, with its password.
    if address.secret is not None:
        url = url.set(password=address.secret)
    scheme = url.get_backend_name()
    kind = _DATABASES.get(scheme)
    if kind is None:
        known = ", ".join(_DATABASES)
        msg = f"the connection {name} is to {scheme}, which Query cannot use; it can use {known}"
        raise JobFailed(msg, final=True)

    def opening() -> Session:
        if kind is PostgreSQL:
            return PostgreSQL(url.set(drivername="postgresql+psycopg"), label)
        if kind is MySQL:
            return MySQL(url.set(drivername="mysql+pymysql"), label)
        return SQLite(url) if kind is SQLite else DuckDB(url, directory / "spill")

    return Database(kind, opening, _secrets(url))


def _secrets(url: "URL") -> tuple[str, ...]:
    return (str(url.password),) if url.password else ()
