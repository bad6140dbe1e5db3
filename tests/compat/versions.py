"""Owns the two versions: where the code of each is, and how a process executes it."""

import io
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.servers.system import script

# The last commit before the packages moved.
BEFORE: Final = "4611eda5197ddb4607aba34bd4cf7af62bb1343a"
ROOT: Final = Path(__file__).resolve().parents[2]
PACKAGES: Final = ("control", "store", "tui", "workers")

# What is meant to differ: a text of the version before, and the one that replaces it.
MEANT: Final = (
    # For people: the file with the table has moved.
    ("control/api/roles.py", "control/api/auth/permissions.py"),
    # For people: words of `--help`.
    ("With --slow they are divided anew,", "With --slow they are divided again,"),
)


class Absent(Exception):
    """The version before cannot be had here; the message says why."""


@dataclass(frozen=True)
class Version:
    """A tree of our packages, and its modules with the frames, the facts' file, and the schema."""

    tree: Path
    wire: str
    facts: str
    migrations: str

    @property
    def environ(self) -> Mapping[str, str]:
        """What makes a process of ours execute this tree: it precedes what is installed."""
        return {"PYTHONPATH": str(self.tree)}

    def python(self, *arguments: str) -> str:
        """What a program prints that has this tree's packages."""
        return self._output([sys.executable, *arguments])

    def tpctl(self, directory: Path, *words: str) -> str:
        """What this version's command prints, called with credentials of a data directory."""
        return self._output([script("tpctl"), "--data-dir", str(directory), *words])

    def _output(self, command: list[str]) -> str:
        done = subprocess.run(
            command,
            # Not from this tree's root, which Python would search first.
            cwd=self.tree.parent,
            env={"PATH": "/usr/bin:/bin", "COLUMNS": "100", **self.environ},
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


NEW: Final = Version(
    tree=ROOT,
    wire="control.model.worker.wire",
    facts="store.facts.file",
    migrations="store.database.migrations",
)


def as_meant(text: str) -> str:
    """What the version before shows, but for what is meant to differ."""
    for was, is_now in MEANT:
        text = text.replace(was, is_now)
    return text


def version_before(directory: Path) -> Version:
    """Its tree, with what an installation knows of it; raises `Absent`."""
    tree = directory / "tree"
    with tarfile.open(fileobj=io.BytesIO(_archive())) as archive:
        archive.extractall(tree, filter="data")
    _describe(tree)
    version = Version(
        tree=tree,
        wire="control.model.wire",
        facts="store.facts_file",
        migrations="store.migrations",
    )
    code = f"import {', '.join(PACKAGES)}\nprint({', '.join(f'{p}.__file__' for p in PACKAGES)})"
    files = version.python("-c", code).split()
    assert files == [str(tree / package / "__init__.py") for package in PACKAGES]
    return version


def _archive() -> bytes:
    git = ["git", "-C", str(ROOT)]
    try:
        found = subprocess.run(
            [*git, "cat-file", "-e", f"{BEFORE}^{{commit}}"], check=False, capture_output=True
        )
    except FileNotFoundError as error:
        raise Absent("the version before is in Git, and there is no git here") from error
    if found.returncode:
        reason = f"the version before, commit {BEFORE[:9]}, is not in this clone; is it shallow?"
        raise Absent(reason)
    parts = [*PACKAGES, "pyproject.toml"]
    command = [*git, "archive", "--format=tar", BEFORE, *parts]
    return subprocess.run(command, check=True, capture_output=True).stdout


def _describe(tree: Path) -> None:
    """Write what is installed beside a package: its version, and where its kinds are."""
    project = tomllib.loads((tree / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    name, version = project["name"], project["version"]
    folder = tree / f"{name}-{version}.dist-info"
    folder.mkdir()
    metadata = f"Metadata-Version: 2.3\nName: {name}\nVersion: {version}\n"
    (folder / "METADATA").write_text(metadata, encoding="utf-8")
    lines = []
    for group, entries in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{entry} = {where}" for entry, where in entries.items())]
    (folder / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
