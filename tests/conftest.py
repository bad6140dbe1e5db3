"""Owns what holds for every test: no timed examples (machines are busy), options, real servers."""

import gc
import os
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import settings

from bench.servers import containers
from bench.servers.broker import SHORT_LIVED, Broker, NoBroker, obtain
from bench.servers.cluster import build
from bench.servers.cluster.simulated import SimulatedCluster
from control.model.names import ENV_STATE_HOME

settings.register_profile("taskplane", deadline=None)
settings.load_profile("taskplane")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, help="run tests/sim, or schedules, with this seed only")
    parser.addoption(
        "--schedule-cases",
        type=int,
        default=500,
        help="of tests/services/schedules/test_schedules_by_oracle.py",
    )
    parser.addoption(
        "--hostile-seconds", type=float, help="how long each fuzzer of tests/hostile goes on"
    )
    parser.addoption("--hostile-seed", type=int, default=1, help="of the fuzzers of tests/hostile")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long tests come first: no process ends with one. Kubernetes' come last: it is being built."""

    def turn(item: pytest.Item) -> int:
        if item.get_closest_marker("kubernetes"):
            return 2
        return 0 if any(map(item.get_closest_marker, ("e2e", "kafka", "slow"))) else 1

    items.sort(key=turn)


def pytest_collection_finish() -> None:
    """Collect garbage less often, and never what was imported: it took a fifth of the time."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@pytest.fixture(autouse=True)
def _own_log() -> Iterator[None]:
    """A command run inside a test sends logs to that test's stderr; the next one has its own."""
    yield
    structlog.reset_defaults()


@pytest.fixture(autouse=True)
def _own_umask() -> Iterator[None]:
    """A command run inside a test may narrow it, and ends there; the next test has its own."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture(autouse=True, scope="session")
def _own_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Workers that tests start keep nothing in the home of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(ENV_STATE_HOME, str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session")
def broker_jars() -> Path:
    """Kafka's jars. Where they cannot be had the test is skipped; on CI that is a failure."""
    try:
        return obtain()
    except NoBroker as error:
        reason = str(error)
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def broker(broker_jars: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """One broker for all tests, which nobody may stop; `prefix` keeps their topics apart."""
    directory = tmp_path_factory.mktemp("kafka")
    with Broker(broker_jars, directory, java_options=SHORT_LIVED) as broker:
        yield broker


@pytest.fixture
def own_broker(broker_jars: Path, tmp_path: Path) -> Iterator[Broker]:
    """A started broker that this test may stop, kill or pause."""
    with Broker(broker_jars, tmp_path / "kafka", java_options=SHORT_LIVED) as broker:
        yield broker


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatedCluster]:
    """One Kubernetes for all tests, where each has a namespace. It is skipped as Kafka is."""
    try:
        programs = build.obtain()
    except build.NoCluster as error:
        reason = str(error)
        if os.environ.get("CI") == "true":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    with SimulatedCluster(programs, tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
def prefix() -> str:
    """What the names of this test's topics and groups begin with."""
    return f"t{uuid.uuid4().hex[:12]}."


@pytest.fixture(scope="session")
def podman() -> Iterator[containers.Podman]:
    """A real engine. Where it cannot be had the test is skipped; on CI that is a failure."""
    try:
        image = containers.obtain()
        # Podman takes no path of more than 50 characters.
        with tempfile.TemporaryDirectory(prefix="tp-") as directory:
            yield containers.Podman(image, Path(directory))
            return
    except containers.NoEngine as error:
        reason = str(error)
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
