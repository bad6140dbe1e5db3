"""Decides that what others see of this version is byte for byte what the version before shows."""

from pathlib import Path

import msgspec
import pytest

from tests.compat import interfaces
from tests.compat.versions import NEW, Version, as_meant

pytestmark = pytest.mark.e2e

Parts = dict[str, dict[str, str]]


def parts_of(version: Version) -> Parts:
    script = Path(interfaces.__file__)
    return msgspec.json.decode(
        version.python(str(script), version.wire, version.facts, version.migrations), type=Parts
    )


@pytest.fixture(scope="module")
def old(before: Version) -> Parts:
    found = parts_of(before)
    return {
        part: {name: as_meant(text) for name, text in texts.items()}
        for part, texts in found.items()
    }


@pytest.fixture(scope="module")
def new() -> Parts:
    return parts_of(NEW)


@pytest.mark.parametrize(
    "part",
    ["commands", "protocol", "names", "settings", "kinds", "state", "facts", "asyncapi"],
)
def test_it_is_what_it_was(old: Parts, new: Parts, part: str) -> None:
    assert old[part]  # Or nothing would be compared.
    assert new[part] == old[part]


def test_all_parts_are_compared(old: Parts, new: Parts) -> None:
    assert old.keys() == new.keys()
