"""Decides which database the URL of a connection means, and how it is opened."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from control.model.errors import JobFailed
from control.model.worker.settings import SecretUrl
from workers.kinds.extras import needs_extra
from workers.kinds.query.embedded_child import ENGINES
from workers.kinds.query.postgresql import PostgreSQL
from workers.kinds.query.relational import MySQL
from workers.kinds.query.session import ServerSession

if TYPE_CHECKING:
    from sqlalchemy import URL

_SERVERS: Final[dict[str, type[PostgreSQL | MySQL]]] = {
    "postgresql": PostgreSQL,
    "mysql": MySQL,
    "mariadb": MySQL,
}


class ServerAddress(NamedTuple):
    """A database that is a server."""

    kind: type[ServerSession]
    open: Callable[[], ServerSession]  # Blocks; raises the driver's errors.


def read_url(name: str, address: SecretUrl) -> "URL":
    """Read the URL of the connection of this name; raises JobFailed."""
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
    if scheme not in _SERVERS | ENGINES:
        known = ", ".join(_SERVERS | ENGINES)
        msg = f"the connection {name} is to {scheme}, which Query cannot use; it can use {known}"
        raise JobFailed(msg, final=True)
    return url


def server_of(url: "URL", label: str) -> ServerAddress | None:
    """The server that a URL leads to, which sees the label; None: an engine without one."""
    kind = _SERVERS.get(url.get_backend_name())
    if kind is None:
        return None
    driver = "postgresql+psycopg" if kind is PostgreSQL else "mysql+pymysql"
    return ServerAddress(kind, lambda: kind(url.set(drivername=driver), label))
