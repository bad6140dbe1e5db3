"""Owns both versions of these tests: this tree, and the last commit before the packages moved.

README: what users of the version before have (data directories, systems on Kafka, workers, commands
and programs that call the API) must go on under this tree. So its code is taken out of Git and runs
as real processes, from a directory of its own, with the libraries of this virtual environment. A
clone without that commit (a shallow one) skips these tests. A difference that is meant stands, with
its reason, in `versions.py`.
"""

from collections.abc import Iterator

import pytest

from bench.servers.broker import Broker
from tests.compat.upgrade import Upgrade, upgraded
from tests.compat.versions import NEW, Absent, Version, version_before


@pytest.fixture(scope="session")
def before(tmp_path_factory: pytest.TempPathFactory) -> Version:
    """The version before, ready to start."""
    try:
        return version_before(tmp_path_factory.mktemp("before"))
    except Absent as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module", params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def upgrade(
    request: pytest.FixtureRequest, before: Version, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Upgrade]:
    """One system of the version before that was killed and goes on as this one, on either bus."""
    flags: tuple[str, ...] = ()
    directory = tmp_path_factory.mktemp(request.param)
    if request.param == "kafka":
        broker: Broker = request.getfixturevalue("broker")
        flags = ("--bus", f"kafka://{broker.address}", "--topic-prefix", f"{directory.name}.")
    with upgraded(directory, before, NEW, flags) as upgrade:
        yield upgrade
