"""Decides that the console's screens look as they were accepted; `make shots` accepts them anew."""

import asyncio
from pathlib import Path
from typing import Final

import pytest

from bench.shots import scene
from bench.shots.camera import look
from bench.shots.key_card import key_card
from bench.shots.takes import COMPARED, TAKES

pytestmark = pytest.mark.slow

_DOCS: Final = Path(__file__).parents[2] / "docs"
_WITHOUT: Final = {"NO_COLOR", "COLUMNS", "LINES"}


@pytest.mark.parametrize("name", COMPARED)
def test_a_screen_is_as_it_was_accepted(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in _WITHOUT:  # They change what a terminal shows.
        monkeypatch.delenv(variable, raising=False)
    take = TAKES[name]
    recording = scene.write(tmp_path / "made.jsonl", take.kind)
    picture = asyncio.run(look(take, recording))
    assert picture.text == (_DOCS / "images" / f"{name}.txt").read_text("utf-8")


def test_the_card_of_keys_is_the_consoles_own() -> None:
    assert (_DOCS / "console-keys.md").read_text("utf-8") == key_card()
