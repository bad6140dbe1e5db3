"""Owns how tests call `tpctl`: what came of it, and the pipelines they call it with."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

import msgspec

from control.model.json_values import Json

TPCTL: Final = (sys.executable, "-c", "from control.cli.main import main; main()")
PIPELINE: Final = """\
name: nightly
description: "[bold]not markup[/bold]"
stages: [a, b]
schedules:
  - cron: "0 4 * * *"
jobs:
  - {name: one, stage: a, kind: Shell, params: {command: "printf 'hello\\\\nworld\\\\n'"}}
  - {name: two, stage: b, kind: Sleep, params: {seconds: 0}}
"""
FAILING: Final = """\
name: failing
stages: [a]
jobs:
  - {name: broken, stage: a, kind: Shell, params: {command: "echo about to fail; exit 3"}}
"""
# Nobody has this label, so it waits until it is cancelled.
WAITING: Final = """\
name: waiting
stages: [a]
jobs:
  - {name: patient, stage: a, kind: Sleep, params: {seconds: 0}, labels: [unobtainable]}
"""


def write(folder: Path, text: str) -> Path:
    """A pipeline file."""
    file = folder / "pipeline.yaml"
    file.write_text(text)
    return file


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Json:
        """Its data."""
        value: Json = msgspec.json.decode(self.out)
        return value

    @property
    def row(self) -> dict[str, Json]:
        """Its data, when that is one thing."""
        value = self.json
        assert isinstance(value, dict)
        return value


class Tpctl(Protocol):
    """Calls the command in this process."""

    def __call__(self, *args: str | int | Path) -> Result:
        """With these arguments."""


def process_environment(plane: Path) -> Mapping[str, str]:
    """The environment for a `tpctl` in a process of its own."""
    return {**os.environ, "TP_DATA_DIR": str(plane), "PYTHONPATH": os.pathsep.join(sys.path)}


def spawn(plane: Path, *args: str | int | Path) -> "subprocess.Popen[str]":
    """A `tpctl` in a process of its own."""
    return subprocess.Popen(
        [*TPCTL, *map(str, args)],
        env=process_environment(plane),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
