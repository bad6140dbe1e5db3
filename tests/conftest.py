"""Owns what holds for every test: no timed examples (machines are busy), and our options."""

from collections.abc import Iterator

import pytest
import structlog
from hypothesis import settings

settings.register_profile("taskplane", deadline=None)
settings.load_profile("taskplane")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, help="run tests/sim with this seed only")


@pytest.fixture(autouse=True)
def _own_log() -> Iterator[None]:
    """A command run inside a test sends logs to that test's stderr; the next one has its own."""
    yield
    structlog.reset_defaults()
