"""Feeds one console with an hour's frames faster than they came: what it keeps must not grow.

The frames and the answers are those of a real system, recorded by a console. They are sent again
and again, each time with other numbers and later times, as if the system went on.
"""

import asyncio
import time
from http import HTTPStatus
from itertools import count, cycle
from pathlib import Path
from typing import Final

import httpx
import msgspec
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from bench.load.terminals import Terminal
from bench.onlookers import VIEWS
from bench.servers.system import System, script
from control.model.api.live import Frame
from control.model.times import from_rfc3339, to_rfc3339
from tui.link.recording import Entry

_FRAME_MS: Final = 100
_SHOWN_S: Final = 3.0  # How long each view is recorded.
_SETTLE_S: Final = 5.0
_UNREAD_MAX: Final = 20
_VIEWS_SHOWN: Final = 24  # So often the view is changed while the frames come.


def record(running: System, file: Path) -> None:
    """What a console is told while it shows one view after the other."""
    command = [script("tpctl"), "tui", "--record", str(file)]
    with Terminal(command, running.environ()) as console:
        console.wait_for("verview")
        for key in VIEWS.values():
            console.press(key)
            time.sleep(_SHOWN_S)


def feed(recording: Path, frames: int) -> dict[str, object]:
    """A console's memory before and after so many frames, in MiB."""
    return asyncio.run(_feed(recording, frames))


async def _feed(recording: Path, frames: int) -> dict[str, object]:
    server = _ReplayedServer(recording, frames)
    async with serve(
        server.serve, "127.0.0.1", 0, process_request=server.answer, compression=None
    ) as listening:
        port = next(iter(listening.sockets)).getsockname()[1]
        environ = {"TP_URL": f"http://127.0.0.1:{port}", "TP_CLIENT_ID": "a"}
        environ["TP_CLIENT_SECRET"] = "b"
        with Terminal([script("tpctl"), "tui"], environ) as console:
            await asyncio.to_thread(console.wait_for, "verview")
            await asyncio.sleep(_SETTLE_S)
            before_mib, cpu_s, begin = console.memory_mib, console.cpu_s, time.perf_counter()
            server.go.set()
            keys = cycle(VIEWS.values())
            while server.left:
                await server.sent(max(frames // _VIEWS_SHOWN, 1))
                console.press(next(keys))
            took_s = time.perf_counter() - begin
            await asyncio.sleep(_SETTLE_S)
            return {
                "frames": frames,
                "frame_bytes_mean": server.sent_bytes / max(frames, 1),
                "frames_per_s": frames / took_s,
                "frame_cpu_ms": 1000 * (console.cpu_s - cpu_s) / max(frames, 1),
                "hour_memory_mib_before": before_mib,
                "hour_memory_mib_after": console.memory_mib,
            }


class _ReplayedServer:
    """Says again what a real one said."""

    def __init__(self, recording: Path, frames: int) -> None:
        self.left = frames
        self.sent_bytes = 0
        self.go = asyncio.Event()
        self._more = asyncio.Condition()
        self._frames: list[Frame] = []
        self._bodies: dict[str, bytes] = {}  # By path and query, and by path alone.
        for line in recording.read_bytes().splitlines()[1:]:
            entry = msgspec.json.decode(line, type=Entry)
            if isinstance(entry.frame, msgspec.Raw):
                self._frames.append(msgspec.json.decode(entry.frame, type=Frame))
            elif isinstance(entry.get, str) and isinstance(entry.body, msgspec.Raw):
                body = bytes(entry.body)
                asked = str(httpx.URL(entry.get, params=entry.query or None))
                self._bodies[asked] = self._bodies[entry.get] = body
        # What has a larger number came while it was recorded, and comes anew each time.
        self._old = max((run.id for run in self._frames[0].runs), default=0)
        newest = max((run.id for frame in self._frames for run in frame.runs), default=0)
        self._span = max(newest - self._old, 0)

    def answer(self, _: ServerConnection, request: Request) -> Response | None:
        """What is asked over HTTP; None: it wants the live events."""
        path = request.path
        if path.startswith("/v1/events"):
            return None
        body = self._bodies.get(path) or self._bodies.get(path.partition("?")[0])
        status = HTTPStatus.NOT_FOUND if body is None else HTTPStatus.OK
        body = body or b'{"title": "not recorded"}'
        headers = Headers(
            {
                "Connection": "close",
                "Content-Length": str(len(body)),
                "Content-Type": "application/json",
            }
        )
        return Response(status, status.phrase, headers, body)

    async def serve(self, socket: ServerConnection) -> None:
        """A snapshot, and when it may go on, all the frames."""
        begin_ms = time.time_ns() // 1_000_000
        first, *others = [each for at, each in enumerate(self._frames) if not at or _is_news(each)]
        first_ms = from_rfc3339(first.time)
        await socket.send(_encoded(first, seq=0, ahead_ms=begin_ms - first_ms, above=0, more=0))
        await self.go.wait()
        for number in count(1):
            if not self.left:
                break
            at = (number - 1) % len(others)
            frame = others[at]
            data = _encoded(
                frame,
                seq=number,
                ahead_ms=begin_ms + number * _FRAME_MS - from_rfc3339(frame.time),
                above=self._old,
                more=(number - 1) // len(others) * self._span,
            )
            await socket.send(data)
            self.sent_bytes += len(data)
            if number % _UNREAD_MAX == 0:  # What the console has not read must not pile up here.
                await (await socket.ping())
            async with self._more:
                self.left -= 1
                self._more.notify_all()
        await socket.wait_closed()

    async def sent(self, frames: int) -> None:
        """Wait until so many more were."""
        until = max(self.left - frames, 0)
        async with self._more:
            await self._more.wait_for(lambda: self.left <= until)


def _is_news(frame: Frame) -> bool:
    return frame.kind == "changes"


def _encoded(frame: Frame, *, seq: int, ahead_ms: int, above: int, more: int) -> bytes:
    """The frame once more: later, and what is new in it with larger numbers."""

    def later(time: str) -> str:
        return to_rfc3339(from_rfc3339(time) + ahead_ms)

    def moved(run_id: int) -> int:
        return run_id + more if run_id > above else run_id

    replace = msgspec.structs.replace
    again = replace(
        frame,
        seq=seq,
        time=later(frame.time),
        runs=[replace(run, id=moved(run.id)) for run in frame.runs],
        jobs=[replace(job, id=job.id + more, run_id=moved(job.run_id)) for job in frame.jobs],
        pulses=[replace(pulse, at=later(pulse.at)) for pulse in frame.pulses],
        notes=[replace(note, at=later(note.at)) for note in frame.notes],
    )
    return msgspec.json.encode(again)
