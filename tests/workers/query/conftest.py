"""Owns the databases that tests of the kind `Query` use, each started once for all of them."""

import os
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from bench.servers.databases import DatabaseServer, MariaDBServer, NoDatabase, PostgreSQLServer
from control.model.worker.settings import SecretUrl, WorkerSettings
from tests.workers.kind_runs import Runs
from workers.kinds.query.kind import Query


def _started(server: Callable[[], DatabaseServer]) -> DatabaseServer:
    """A started server. Where it cannot be had the test is skipped; on CI that is a failure."""
    try:
        return server().__enter__()
    except NoDatabase as error:
        reason = str(error)
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQLServer]:
    """A real PostgreSQL, for all tests; each uses tables of its own."""
    server = _started(PostgreSQLServer)
    assert isinstance(server, PostgreSQLServer)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDBServer]:
    """A real MariaDB, for all tests; each uses tables of its own."""
    server = _started(MariaDBServer)
    assert isinstance(server, MariaDBServer)
    yield server
    server.stop()


@pytest.fixture
async def query(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Callable[..., Runs]]:
    """Runs the kind with these connections: names, and their URLs or addresses."""
    kinds: list[Query] = []

    def made(**connections: str | SecretUrl) -> Runs:
        kind = Query()
        kinds.append(kind)
        addresses = {
            name: each if isinstance(each, SecretUrl) else SecretUrl(each)
            for name, each in connections.items()
        }
        kind.configure(WorkerSettings(connections=addresses))
        return Runs(kind, tmp_path_factory.mktemp("runs"))  # type: ignore[arg-type]

    yield made
    for each in kinds:
        await each.aclose()
