"""Decides whose containers a starting or ending worker removes, and which engines it asks."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from workers.kinds.container_engine import Engine
from workers.kinds.container_leftovers import Leftovers

# A container is a file whose lines are its labels. `away`: the engine does not answer.
_ENGINE = """\
#!/bin/sh
cd "$(dirname "$0")" || exit
[ ! -e away ] || exit 1
case $1 in
ps) for last; do :; done; grep -lxF -- "${last##*label=}" *.container; true ;;
rm) shift 3; rm -- "$@" ;;
esac
"""


class Containers:
    """An engine that has containers, and runs none."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        program = directory / "engine"
        program.write_text(_ENGINE)
        program.chmod(0o755)
        self.directory = directory
        self.engine = Engine("podman", str(program))

    def create(self, name: str, labels: Mapping[str, str]) -> None:
        lines = "".join(f"{key}={value}\n" for key, value in labels.items())
        (self.directory / f"{name}.container").write_text(lines)

    @property
    def names(self) -> list[str]:
        return sorted(path.stem for path in self.directory.glob("*.container"))

    def answer(self, *, answers: bool) -> None:
        """Whether it does from now on."""
        if answers:
            (self.directory / "away").unlink()
        else:
            (self.directory / "away").touch()


@pytest.fixture
def containers(tmp_path: Path) -> Containers:
    return Containers(tmp_path / "engine")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """The worker's directory."""
    (tmp_path / "state").mkdir()
    return tmp_path / "state"


async def using(containers: Containers, state: Path, process: str) -> Leftovers:
    """A worker process with one container."""
    leftovers = Leftovers(process)
    await leftovers.begin(state)
    await leftovers.watch(containers.engine)
    containers.create(process, leftovers.labels)
    return leftovers


def _replace(state: Path) -> None:
    """What follows happens on another host, where the path is the same."""
    state.rename(state.with_name("state-of-the-other-host"))
    state.mkdir()


async def test_workers_of_two_hosts_have_the_same_path_and_one_engine(
    containers: Containers, state: Path
) -> None:
    other = await using(containers, state, "other")
    _replace(state)
    killed = await using(containers, state, "killed")
    restarted = Leftovers("restarted")
    await restarted.begin(state)
    assert containers.names == ["other"]
    for each in (killed, restarted, other):
        await each.aclose()


async def test_the_record_of_engines_is_never_half_written(
    containers: Containers, state: Path, tmp_path: Path
) -> None:
    leftovers = await using(containers, state, "first")
    seen = tmp_path / "seen"
    seen.hardlink_to(state / "containers.json")
    before = seen.read_bytes()
    await leftovers.watch(Containers(tmp_path / "engine-2").engine)
    assert seen.read_bytes() == before != (state / "containers.json").read_bytes()
    await leftovers.aclose()
    assert os.listdir(state) == []


async def test_an_engine_that_was_away_at_the_start_is_asked_until_it_has_answered(
    containers: Containers, state: Path
) -> None:
    killed = await using(containers, state, "killed")
    containers.answer(answers=False)
    second = Leftovers("second")
    await second.begin(state)
    await second.watch(containers.engine)
    assert containers.names == ["killed"]
    containers.answer(answers=True)
    await second.aclose()
    third = Leftovers("third")
    await third.begin(state)
    assert (containers.names, os.listdir(state)) == ([], [])
    await killed.aclose()
