"""Decides that each claim of the threat model names tests that there are."""

import re
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parent.parent
_TEST: Final = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
_ROW: Final = re.compile(r"^\| (?!nobody|---)(.+?) \| (.+) \|$", re.MULTILINE)


def claims() -> list[tuple[str, str]]:
    text = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    return _ROW.findall(text.partition("## What holds")[2].partition("## What does not")[0])


@pytest.mark.parametrize("claim", claims(), ids=lambda claim: claim[0][:40])
def test_a_claim_names_tests_that_there_are(claim: tuple[str, str]) -> None:
    named = _TEST.findall(claim[1])
    assert named, claim[0]
    for file, function in named:
        source = (ROOT / file).read_text(encoding="utf-8")
        assert re.search(rf"^(async )?def {function}\(", source, re.MULTILINE), (file, function)


def test_there_are_claims() -> None:
    assert len(claims()) > 15
