"""Owns what holds for every test: no timed examples (machines are busy), and our options."""

import pytest
from hypothesis import settings

settings.register_profile("taskplane", deadline=None)
settings.load_profile("taskplane")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, help="run tests/sim with this seed only")
