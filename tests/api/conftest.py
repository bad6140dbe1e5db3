"""Owns the fixture of a running API."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.api.serving import Serving, serving


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Serving]:
    async with serving(tmp_path) as found:
        yield found
