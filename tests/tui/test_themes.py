"""Decides that colours of one's own are taken, and that wrong ones are said and stop nothing."""

from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.tui.sources import Canned, drive, snapshot
from tui.app import Console
from tui.link.contexts import ContextsInvalid, themes


def test_a_theme_of_ones_own_is_taken_and_a_wrong_one_is_said(tmp_path: Path) -> None:
    (tmp_path / "themes.toml").write_text(
        '[mine]\nprimary = "#123456"\nsecondary = "hotpink"\n[theirs]\nprimary = "[/x]"\n'
    )

    async def body(app: Console, _: Pilot[Any]) -> None:
        assert app.theme == "mine"
        assert app.current_theme.secondary == "hotpink"
        assert app.current_theme.success == app.available_themes["taskplane-dark"].success
        assert "theirs" not in app.available_themes
        assert "themes.toml: theirs: [/x] is no colour" in {each.text for each in app.notices.all}

    drive(Canned(snapshot()), body, theme="mine", themes=themes(tmp_path))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[mine]\nprimary = 7\n", "primary"),
        ('[mine]\nprimary = "red"\nslow = "blue"\n', "slow"),
        ("mine", "themes.toml"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "themes.toml").write_text(text)
    with pytest.raises(ContextsInvalid, match=words):
        themes(tmp_path)


def test_there_need_not_be_any(tmp_path: Path) -> None:
    assert not themes(tmp_path)
