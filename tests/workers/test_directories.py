"""Decides that whatever a job leaves is removed, and that nothing of it stops a worker."""

import os
from pathlib import Path

from workers.directories import remove_directory, remove_tree


def deep(directory: Path, levels: int) -> None:
    """A directory so deep that no path reaches its end."""
    here = os.getcwd()
    os.chdir(directory)
    try:
        for _ in range(levels):
            os.mkdir("d" * 20)
            os.chdir("d" * 20)
        Path("file").touch()
    finally:
        os.chdir(here)


def test_it_may_be_deeper_than_pythons_stack_and_any_path(tmp_path: Path) -> None:
    left = tmp_path / "left"
    left.mkdir()
    deep(left, 3_000)
    remove_tree(left)
    assert not left.exists()


def test_links_lead_nowhere_and_names_that_are_taken_stay_apart(tmp_path: Path) -> None:
    other, left = tmp_path / "other", tmp_path / "left"
    for directory in (other, left / "a" / "b", left / ".removing-0", left / "closed"):
        directory.mkdir(parents=True)
    (other / "kept").touch()
    (left / "a" / "b" / "file").touch()
    (left / "link").symlink_to(other)
    (left / "a" / "link").symlink_to(other / "kept")
    os.mkfifo(left / "pipe")
    (left / "closed").chmod(0)
    remove_tree(left)
    assert not left.exists()
    assert (other / "kept").exists()


def test_what_is_not_there_or_no_directory_raises_nothing(tmp_path: Path) -> None:
    remove_tree(tmp_path / "nothing")
    file = tmp_path / "file"
    file.touch()
    remove_tree(file)
    assert file.exists()


async def test_a_directory_with_files_goes_away_after_its_attempt(tmp_path: Path) -> None:
    left = tmp_path / "left"
    (left / "a").mkdir(parents=True)
    (left / "a" / "file").touch()
    await remove_directory(left)
    assert not left.exists()
