"""Decides that a recording of a real control plane shows what was seen, and holds no secret."""

import asyncio
import base64
import re
import subprocess
import time
import tomllib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from bench.servers.system import start_control
from bench.shots.camera import Still, seen, settle
from tests.cli.calling import TPCTL
from tui.app import Console
from tui.link import recording
from tui.link.recording import Recorder
from tui.link.replay import Replay
from tui.link.server import ServerSource
from tui.link.source import ConsoleTarget, Source

pytestmark = pytest.mark.e2e

_PIPELINE: Final = """\
name: patient
stages: [a]
jobs:
  - {name: waits, stage: a, kind: Sleep, params: {seconds: 0}, labels: [unobtainable]}
"""
# What goes on by itself while nothing happens: the clock, and how long a job has been ready.
_CLOCK: Final = re.compile(r"\d\d:\d\d:\d\dZ|\b\d+(ms|\.\ds) *")


async def _views(source: Source, now_ms: Callable[[], int]) -> list[str]:
    """The text of the six views, one after the other, but for the clock."""
    app = Console(source, now_ms=now_ms, version="1")
    found = []
    async with app.run_test(size=(120, 36)) as pilot:
        link = asyncio.create_task(app.session.run())
        try:
            for key in "123456":
                await pilot.press(key)
                await settle(app, pilot)
                found.append(_CLOCK.sub("clock", seen(app)))
        finally:
            link.cancel()
            await asyncio.wait([link])
    await source.aclose()
    return found


class _Begin(ServerSource):
    """A control plane of which only the first picture comes: what follows depends on the time."""

    @asynccontextmanager
    async def frames(self) -> AsyncIterator[AsyncIterator[bytes]]:
        """The snapshot, and then nothing."""
        async with super().frames() as frames:
            yield self._first(frames)

    async def _first(self, frames: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        yield await anext(frames)
        await asyncio.Event().wait()


def test_a_replay_shows_what_was_seen_and_holds_no_secret(tmp_path: Path) -> None:
    data_dir, path = tmp_path / "data", tmp_path / "session.jsonl"
    pipeline = tmp_path / "patient.yaml"
    pipeline.write_text(_PIPELINE)
    begin_ms = time.time_ns() // 1_000_000
    with start_control(data_dir):
        command = (*TPCTL, "--data-dir", str(data_dir), "run", "submit", str(pipeline))
        subprocess.run(command, check=True, capture_output=True)
        login = tomllib.loads((data_dir / "credentials.toml").read_text())
        name, secret = login["client_id"], login["client_secret"]
        target = ConsoleTarget(
            name="here", url=login["url"], client_id=name, client_secret=secret, direct=True
        )

        async def record() -> list[str]:
            file = recording.create(path)
            source = Recorder(_Begin(target, "1"), file, lambda: begin_ms, version="1")
            return await _views(source, lambda: begin_ms)

        shown = asyncio.run(record())

    async def replay() -> list[str]:
        return await _views(Replay(path, Still(0)), lambda: begin_ms)

    assert asyncio.run(replay()) == shown
    assert "patient" in shown[3]
    text = path.read_text()
    assert name in text
    assert secret not in text
    assert base64.b64encode(f"{name}:{secret}".encode()).decode() not in text
    assert "uthorization" not in text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--replay", "{there}"), "line 1: this is no recording of tpctl's"),
        (("--replay", "{missing}"), "No such file"),
        (("--record", "{there}"), "never written over another file"),
        (("--record", "{missing}", "--replay", "{there}"), "exclude each other"),
    ],
)
def test_what_cannot_be_begun_is_said(tmp_path: Path, options: tuple[str, ...], words: str) -> None:
    there = tmp_path / "letter"
    there.write_text("dear ann")
    given = [each.format(there=there, missing=tmp_path / "missing") for each in options]
    command = [*TPCTL, "--url", "http://127.0.0.1:1", "tui", *given]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert words in done.stderr
    assert there.read_text() == "dear ann"
