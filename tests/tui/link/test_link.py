"""Decides how the console stands with real control planes: live, killed, refused, away, older."""

import asyncio
import contextlib
import os
import pty
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from io import FileIO
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from textual.pilot import Pilot
from websockets.asyncio.server import ServerConnection, serve

from bench.servers.system import System, start_control, start_worker
from tests.cli.calling import TPCTL
from tests.tui.sources import drawn, drive, picture, press, snapshot
from tui.app import Console
from tui.link.server import ServerSource
from tui.link.source import ConsoleTarget
from tui.screens.run import RunDetail
from tui.screens.runs import Runs
from tui.starting import now_ms
from tui.widgets.reader import TextReader
from tui.widgets.table import Table

_TRIES: Final = 3_000
_TALKS: Final = """\
name: talker
stages: [a]
jobs:
  - name: talks
    stage: a
    kind: Shell
    params:
      command: "echo first; until test -e {go}; do sleep 0.1; done; echo second"
"""
_READS: Final = 500
_ON: Final = b"\x1b[?1049h"


def _target(system: System, secret: str | None = None) -> ConsoleTarget:
    name, own = system.auth
    return ConsoleTarget(
        name="here", url=system.url, client_id=name, client_secret=secret or own, direct=True
    )


def _closed() -> str:
    """The URL of nobody."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


async def eventually(
    app: Console, pilot: Pilot[Any], holds: Callable[[], object], what: str
) -> None:
    """Wait for other processes."""
    for _ in range(_TRIES):
        if holds():
            return
        await pilot.pause()
        app.flush_view()
    message = f"it never came: {what}\n" + "\n".join(picture(app))
    raise AssertionError(message)


def _text(app: Console) -> str:
    return "\n".join(picture(app))


@pytest.mark.e2e
def test_a_run_is_seen_with_its_log_while_it_goes_on(tmp_path: Path) -> None:
    go, pipeline = tmp_path / "go", tmp_path / "talker.yaml"
    pipeline.write_text(_TALKS.format(go=go))
    with ExitStack() as stack:
        stack.enter_context(start_control(tmp_path / "data"))
        stack.enter_context(start_worker(tmp_path / "data", slots=2, name="one"))
        system = System(tmp_path / "data", [])
        submit = (*TPCTL, "--data-dir", str(tmp_path / "data"), "run", "submit", str(pipeline))

        async def body(app: Console, pilot: Pilot[Any]) -> None:
            await eventually(app, pilot, lambda: app.store.link.state == "live", "live")
            await press(pilot, "4")
            await eventually(app, pilot, lambda: isinstance(app.screen, Runs), "the runs")
            await asyncio.to_thread(subprocess.run, submit, check=True, capture_output=True)
            await eventually(app, pilot, lambda: app.screen.query("#runs"), "its table")
            table = app.screen.query_one("#runs", Table)
            await eventually(app, pilot, lambda: table.rows.order, "the run")
            await press(pilot, "enter")
            await eventually(app, pilot, lambda: isinstance(app.screen, RunDetail), "its screen")
            await eventually(app, pilot, lambda: app.screen.query(TextReader), "its log")
            reader = app.screen.query_one(TextReader)
            await eventually(app, pilot, lambda: "first" in reader.text, "the log's begin")
            assert "second" not in reader.text
            go.touch()
            await eventually(app, pilot, lambda: "second" in reader.text, "the log's end")
            await eventually(app, pilot, lambda: "DONE" in _text(app), "the run's end")

        drive(ServerSource(_target(system), "1"), body, now_ms=now_ms)


@pytest.mark.e2e
def test_a_server_that_is_killed_and_comes_back(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    with ExitStack() as stack:
        control = stack.enter_context(start_control(tmp_path))
        stack.enter_context(start_worker(tmp_path, slots=2, name="one"))
        system = System(tmp_path, [])
        ports = [system.url.rpartition("/")[2], system.gateway.rpartition("/")[2]]

        async def body(app: Console, pilot: Pilot[Any]) -> None:
            await press(pilot, "5")
            await eventually(app, pilot, lambda: "one" in app.store.workers, "the worker")
            await eventually(app, pilot, lambda: "│▸● one" in _text(app), "its row")
            control.kill()
            await eventually(app, pilot, lambda: app.store.link.state == "lost", "the loss")
            lines = await drawn(app, pilot)
            assert "○ lost" in lines[0]
            assert "next try" in lines[0]
            await eventually(app, pilot, lambda: "STALE" in _text(app), "the date")
            assert "│▸● one" in _text(app)
            assert "cannot reach" in app.store.link.why
            flags = ["--listen", ports[0], "--gateway", ports[1]]
            context = start_control(tmp_path, *flags)
            await asyncio.to_thread(stack.enter_context, context)
            ready_s = time.monotonic()
            await eventually(app, pilot, lambda: app.store.link.state == "live", "the link")
            record_property("live_again_s", time.monotonic() - ready_s)
            await drawn(app, pilot)
            assert "STALE" not in _text(app)
            await eventually(app, pilot, lambda: "│▸● one" in _text(app), "its row, live")

        drive(ServerSource(_target(system), "1"), body, now_ms=now_ms)


@pytest.mark.e2e
def test_a_wrong_secret_is_said_with_what_to_do(tmp_path: Path) -> None:
    with start_control(tmp_path):
        target = _target(System(tmp_path, []), "wrong")

        async def body(app: Console, pilot: Pilot[Any]) -> None:
            await eventually(app, pilot, lambda: app.store.link.state == "refused", "the refusal")
            await press(pilot, "4")
            lines = await drawn(app, pilot)
            assert "✗ refused" in lines[0]
            assert "401" in lines[0]
            assert "ctrl+r tries again" in _text(app)

        drive(ServerSource(target, "1"), body, now_ms=now_ms)


def test_nobody_there_is_said_with_what_to_do() -> None:
    url = _closed()

    async def body(app: Console, pilot: Pilot[Any]) -> None:
        await eventually(app, pilot, lambda: app.store.link.state == "lost", "the loss")
        await press(pilot, "4")
        lines = await drawn(app, pilot)
        assert "○ lost" in lines[0]
        assert "next try" in lines[0]
        assert f"cannot reach {url}" in app.store.link.why
        assert f"cannot reach {url}" in _text(app)
        before = app.store.link.next_try_ms
        await press(pilot, "ctrl+r")
        await eventually(app, pilot, lambda: app.store.link.next_try_ms != before, "a try")

    drive(ServerSource(ConsoleTarget(name="here", url=url, direct=True), "1"), body, now_ms=now_ms)


_OLD: Final = msgspec.json.encode(snapshot(version=None))


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (_OLD, "the server is older than this console"),
        (b'{"hello": 1}', "does not understand the server"),
        (b"\xff\xfe\x00", "does not understand the server"),
        (_OLD.replace(b'"snapshot"', b'"poem"'), "does not understand the server"),
    ],
    ids=["older", "other", "no text", "newer"],
)
def test_an_older_or_another_server_is_said_with_what_to_do(frame: bytes, words: str) -> None:
    async def answer(socket: ServerConnection) -> None:
        await socket.send(frame)
        await socket.wait_closed()

    async def run() -> None:
        async with serve(answer, "127.0.0.1", 0) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            target = ConsoleTarget(name="here", url=f"http://127.0.0.1:{port}", direct=True)
            app = Console(ServerSource(target, "1"), now_ms=now_ms, version="1")
            async with app.run_test(size=(120, 36)) as pilot:
                link = asyncio.create_task(app.session.run())
                try:
                    refused = lambda: app.store.link.state == "refused"  # noqa: E731
                    await eventually(app, pilot, refused, "the refusal")
                    await press(pilot, "4")
                    await drawn(app, pilot)
                    assert words in app.store.link.why
                    assert "tpctl doctor" in app.store.link.why
                    assert "✗ refused" in picture(app)[0]
                    assert words.partition(" ")[0] in _text(app)
                finally:
                    link.cancel()
                    await asyncio.wait([link])
                    await app.source.aclose()

    asyncio.run(run())


@contextlib.contextmanager
def _in_terminal(*arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], FileIO]]:
    """`tpctl tui` in a terminal of its own, once it draws."""
    ours, theirs = pty.openpty()
    os.set_blocking(ours, False)
    environ = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "120", "LINES": "36"}
    command = [*TPCTL, *arguments, "tui"]
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environ, start_new_session=True
    ) as process:
        os.close(theirs)
        with open(ours, "r+b", buffering=0) as terminal:
            try:
                yield process, terminal
            finally:
                process.kill()


def _read(terminal: FileIO, until: bytes | None, seen: bytes = b"") -> bytes:
    """What comes out until this was there; None: until nobody writes any more."""
    for _ in range(_READS):  # The console draws for ever.
        if until is not None and until in seen:
            return seen
        ready, _, _ = select.select([terminal], [], [], 30)
        assert ready, seen[-2000:]
        try:
            piece = os.read(terminal.fileno(), 65_536)
        except OSError:  # Linux says so when the last writer is gone.
            piece = b""
        if not piece and until is None:
            return seen
        seen += piece
    raise AssertionError(seen[-2000:])


def _check_restored(seen: bytes) -> None:
    """The terminal is as it was: its own screen, no mouse, a cursor."""
    last = seen[seen.rindex(_ON) :]
    for off, on in ((b"\x1b[?1049l", _ON), (b"\x1b[?25h", b"\x1b[?25l")):
        assert last.rfind(off) > last.rfind(on), off
    for mode in (b"1000", b"1003", b"1006", b"1015"):
        assert last.rfind(b"\x1b[?" + mode + b"l") > last.rfind(b"\x1b[?" + mode + b"h"), mode


@pytest.mark.e2e
@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("dialog", [b"", b"?", b":"], ids=["view", "help", "prompt"])
def test_a_signal_leaves_the_terminal_as_it_was(sign: signal.Signals, dialog: bytes) -> None:
    with _in_terminal("--url", _closed()) as (process, terminal):
        seen = _read(terminal, b"lost")
        if dialog:
            terminal.write(dialog)
            seen = _read(terminal, {b"?": b"Everywhere", b":": b"run 4711"}[dialog], seen)
        process.send_signal(sign)
        seen = _read(terminal, None, seen)
        assert process.wait(30) == 0
        _check_restored(seen)
        assert b"Traceback" not in seen


@pytest.mark.e2e
def test_q_at_a_root_ends_with_0() -> None:
    with _in_terminal("--url", _closed()) as (process, terminal):
        seen = _read(terminal, b"lost")
        terminal.write(b"q")
        seen = _read(terminal, None, seen)
        assert process.wait(30) == 0
        _check_restored(seen)
        assert b"Traceback" not in seen


@pytest.mark.e2e
def test_a_live_console_ends_when_it_is_told_to(tmp_path: Path) -> None:
    with start_control(tmp_path), _in_terminal("--data-dir", str(tmp_path)) as (process, terminal):
        seen = _read(terminal, b"live")
        process.send_signal(signal.SIGTERM)
        seen = _read(terminal, None, seen)
        assert process.wait(30) == 0
        _check_restored(seen)
        assert b"Traceback" not in seen


@pytest.mark.e2e
def test_a_console_whose_terminal_is_gone_ends() -> None:
    with _in_terminal("--url", _closed()) as (process, terminal):
        _read(terminal, b"lost")
        terminal.close()
        assert process.wait(60) == 0
