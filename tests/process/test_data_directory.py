"""What a data directory keeps before services start."""

from pathlib import Path

from control.process import data_directory


def test_a_process_keeps_its_name(tmp_path: Path) -> None:
    first = data_directory.member(tmp_path, lambda count: b"a" * count)
    assert first.endswith("-61616161")
    assert data_directory.member(tmp_path, lambda count: b"b" * count) == first


def test_a_name_that_was_never_written_is_made_up_anew(tmp_path: Path) -> None:
    (tmp_path / "member").touch()
    made = data_directory.member(tmp_path, lambda count: b"a" * count)
    assert made.endswith("-61616161")
    assert data_directory.member(tmp_path, lambda count: b"b" * count) == made
