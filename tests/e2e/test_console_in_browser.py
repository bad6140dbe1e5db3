"""Decides that the console in a browser opens for pages of its own host only."""

import asyncio
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from bench.shots import scene
from control.cli.console.browser import served
from control.cli.console.page import page

pytest.importorskip("textual_serve")

import aiohttp

pytestmark = pytest.mark.e2e


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


async def _status(session: aiohttp.ClientSession, path: str, **headers: str) -> int:
    async with session.get(path, headers=headers) as answer:
        return answer.status


async def _until_it_listens(port: int) -> None:
    """It says where it is just before it listens there."""
    async with asyncio.timeout(30):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                continue
            writer.close()
            await writer.wait_closed()
            return


async def _visit(port: int) -> None:
    base, own = f"http://127.0.0.1:{port}", f"http://localhost:{port}"
    await _until_it_listens(port)
    async with aiohttp.ClientSession(base) as session:
        assert await _status(session, "/") == 200
        assert await _status(session, "/", Host=f"localhost:{port}", Origin=own) == 200
        await _check_page(session)
        assert await _status(session, "/", Host="rebound.example") == 403
        assert await _status(session, "/", Origin="http://stranger.example") == 403
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect("/ws", headers={"Origin": "http://stranger.example"})
        assert refused.value.status == 403
        async with session.ws_connect("/ws?width=120&height=36", headers={"Origin": own}) as page:
            seen = b""
            async with asyncio.timeout(30):
                while b"[1 Overview]" not in seen:
                    seen += (await page.receive()).data
            assert b"prod" in seen


async def _check_page(session: aiohttp.ClientSession) -> None:
    """All that the page names is there, and it may load nothing of another host."""
    async with session.get("/") as answer:
        text, allowed = await answer.text(), answer.headers["Content-Security-Policy"]
    names = re.findall(r'(?:href|src)="([^"]+)"|url\("([^"]+)"\)', text)
    local = {first or second for first, second in names} - {"/", "data:,"}
    assert {each.rpartition(".")[2] for each in local} == {"css", "js", "ttf"}
    for each in local:
        assert each.startswith("/static/")
        assert await _status(session, each) == 200
    assert not re.findall(r"https?://|wss://", text)
    own = f"127.0.0.1:{session._base_url.port}"  # type: ignore[union-attr]  # noqa: SLF001
    assert f'data-session-websocket-url="ws://{own}/ws"' in text
    assert allowed.startswith("default-src 'none'; ")
    hosts = {word for word in re.split(r"[ ;]+", allowed) if ":" in word}
    assert hosts == {"data:", f"ws://{own}"}


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_the_page_takes_keys_at_once(tmp_path: Path) -> None:
    """Its script is run as a browser would: the terminal's input gets the focus when it is made."""
    (script,) = re.findall(r"<script nonce[^>]*>(.*?)</script>", page("h:1", 16, "n"), re.DOTALL)
    (tmp_path / "page.js").write_text(_BROWSER.replace("PAGE", script))
    done = subprocess.run(
        ["node", tmp_path / "page.js"], check=True, capture_output=True, text=True
    )
    assert done.stdout == "focused\n"


_BROWSER = """
let input = null, changed = null, watched = true;
const terminal = {querySelector: (name) => name === ".xterm-helper-textarea" ? input : null};
const document = {getElementById: (name) => name === "terminal" ? terminal : null};
const addEventListener = (name, run) => { if (name === "DOMContentLoaded") run(); };
class MutationObserver {
  constructor(run) { this.run = run; }
  observe(node, what) {
    if (node === terminal && what.subtree) changed = () => watched && this.run([], this);
  }
  disconnect() { watched = false; }
}
PAGE
changed();
input = {focus: () => console.log("focused")};
changed();
changed();
"""


def test_only_pages_of_this_host_open_it(tmp_path: Path) -> None:
    recording = scene.write(tmp_path / "made.jsonl")
    port = _free_port()
    command = [str(Path(sys.executable).parent / "tpctl"), "tui", "--replay", str(recording)]
    with subprocess.Popen(
        [*command, "--serve", "--port", str(port)], stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stderr is not None
            assert f"http://127.0.0.1:{port}" in process.stderr.readline()
            asyncio.run(_visit(port))
        finally:
            process.send_signal(signal.SIGINT)
    assert process.returncode == 0


def test_a_port_that_is_taken_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        command = [str(Path(sys.executable).parent / "tpctl"), "tui", "--serve"]
        done = subprocess.run(
            [*command, "--port", str(port)], check=False, capture_output=True, text=True
        )
    assert done.returncode == 2
    assert f"cannot listen on port {port}" in done.stderr


def test_it_gets_the_same_command_line() -> None:
    given = ["tpctl", "--data-dir", "my data", "tui", "--serve", "--port", "9000", "--theme=nord"]
    assert served(given) == "tpctl --data-dir 'my data' tui --theme=nord"
    assert served(["tpctl", "tui", "--port=1", "--serve"]) == "tpctl tui"
