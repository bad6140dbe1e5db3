"""Decides what a recording holds, that a replay brings the same, and what a damaged one says."""

import asyncio
import errno
import os
import re
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, TypeVar

import msgspec
import pytest

from bench.shots.camera import Still
from control.model.api.live import Frame, Watch
from control.model.json_values import Json
from tui.link import recording
from tui.link.recording import Recorder
from tui.link.replay import RecordingInvalid, Replay, RunningPace
from tui.link.source import Away, ConsoleTarget, LinkError, RequestRefused, Source

T = TypeVar("T")
SECRET: Final = "s3cr3t-of-ann"
NOW: Final = 1_792_068_067_000
FRAMES: Final = [
    msgspec.json.encode(
        Frame(seq=seq, time="2026-10-15T12:41:07Z", kind="changes" if seq else "snapshot")
    )
    for seq in range(3)
]


class Told:
    """A source that tells frames and then breaks, and answers what it was given."""

    def __init__(self, *, ends: LinkError | None = None) -> None:
        self.answers: dict[str, bytes | LinkError] = {}
        self.pieces: list[bytes] = []
        self.ends = ends

    @property
    def target(self) -> ConsoleTarget:
        return ConsoleTarget(
            name="prod",
            url="http://ann:pw-of-ann@prod:8700",
            client_id="ann",
            client_secret=SECRET,
        )

    @asynccontextmanager
    async def frames(self) -> AsyncIterator[AsyncIterator[bytes]]:
        yield self._frames()

    async def _frames(self) -> AsyncIterator[bytes]:
        for frame in FRAMES:
            yield frame
        if self.ends is not None:
            raise self.ends

    async def watch(self, wanted: Watch) -> None:
        pass

    async def ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Json = None,
    ) -> bytes:
        del method, query, body
        answer = self.answers[path]
        if isinstance(answer, LinkError):
            raise answer
        return answer

    @asynccontextmanager
    async def log(self, job_id: int, attempt: int) -> AsyncIterator[AsyncIterator[bytes]]:
        del job_id, attempt
        yield self._pieces()

    async def _pieces(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            yield piece

    async def aclose(self) -> None:
        pass


class Full:
    """A file on a disk without room."""

    def write(self, data: bytes, /) -> object:
        del data
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def flush(self) -> object:
        return None

    def close(self) -> object:
        return None


class Hand:
    """A clock that is put by hand."""

    def __init__(self) -> None:
        self.ms = NOW

    def __call__(self) -> int:
        return self.ms


async def heard(source: Source, count: int) -> list[bytes]:
    """The first frames."""
    found: list[bytes] = []
    async with source.frames() as frames:
        async for frame in frames:
            found.append(frame)
            if len(found) == count:
                break
    return found


def record(
    path: Path, told: Told, work: Callable[[Recorder, Hand], Awaitable[None]]
) -> list[dict[str, object]]:
    """Do this with a recorder; the lines that it wrote."""

    async def run() -> None:
        clock = Hand()
        recorder = Recorder(told, recording.create(path), clock, version="1.0.0")
        await work(recorder, clock)
        await recorder.aclose()
        assert not recorder.problem

    asyncio.run(run())
    return [msgspec.json.decode(each) for each in path.read_bytes().splitlines()]


def replayed(path: Path, ms: int, work: Callable[[Replay], Awaitable[T]]) -> T:
    """Do this with a recording that stands at this moment."""

    async def run() -> T:
        source = Replay(path, Still(ms))
        try:
            return await work(source)
        finally:
            await source.aclose()

    return asyncio.run(run())


def written(path: Path, *lines: str) -> Path:
    """A recording of these lines."""
    opening = '{"recording":1,"version":"1","context":"prod","url":"http://prod:8700","at":"'
    path.write_text("\n".join([opening + '2026-10-15T12:41:07Z"}', *lines, ""]))
    return path


def test_frames_come_again_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "session.jsonl"

    async def work(recorder: Recorder, clock: Hand) -> None:
        async with recorder.frames() as frames:
            async for _ in frames:
                clock.ms += 1000

    lines = record(path, Told(), work)
    assert [each.get("link") for each in lines[1:]] == ["live", None, None, None, "lost"]
    assert [each["ms"] for each in lines[1:]] == [0, 0, 1000, 2000, 3000]
    assert replayed(path, 2000, lambda source: heard(source, 3)) == FRAMES


def test_nothing_comes_before_its_time(tmp_path: Path) -> None:
    path = written(
        tmp_path / "session.jsonl",
        *(f'{{"ms":{1000 * seq},"frame":{frame.decode()}}}' for seq, frame in enumerate(FRAMES)),
    )

    async def work(source: Replay) -> list[bytes]:
        found: list[bytes] = []

        async def follow() -> None:
            async with source.frames() as frames:
                async for frame in frames:
                    found.append(frame)  # noqa: PERF401 - it is looked at before the end.

        task = asyncio.create_task(follow())
        for _ in range(10):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        return found

    assert replayed(path, 1500, work) == FRAMES[:2]


def test_time_runs_with_the_speed_from_the_first_question_on(tmp_path: Path) -> None:
    passed = [100.0]
    source = Replay(written(tmp_path / "session.jsonl"), RunningPace(4.0, lambda: passed[0]))
    begin = source.now_ms()
    passed[0] += 2.5
    assert begin == NOW
    assert source.now_ms() == NOW + 10_000
    asyncio.run(source.aclose())


def test_a_link_that_broke_breaks_again_in_the_same_words(tmp_path: Path) -> None:
    path = tmp_path / "session.jsonl"

    async def work(recorder: Recorder, clock: Hand) -> None:
        with pytest.raises(RequestRefused):
            await heard(recorder, 99)

    record(path, Told(ends=RequestRefused("wrong secret (401)", 401)), work)

    async def follow(source: Replay) -> None:
        await heard(source, 99)

    with pytest.raises(RequestRefused, match="wrong secret") as refused:
        replayed(path, 0, follow)
    assert refused.value.status == 401


def test_no_secret_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "session.jsonl"
    told = Told()
    told.answers = {"/v1/queues": b"{}", "/v1/runs/1/cancel": b'{"done":1}'}

    async def work(recorder: Recorder, clock: Hand) -> None:
        await recorder.ask("GET", "/v1/queues")
        await recorder.ask("POST", "/v1/runs/1/cancel", body={"why": "private"})

    lines = record(path, told, work)
    assert len(lines) == 2, "what changes something is not written down"
    text = path.read_text()
    assert SECRET not in text
    assert "pw-of-ann" not in text
    assert "http://prod:8700" in text
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_it_is_never_written_over_another_file(tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_text("dear ann")
    with pytest.raises(FileExistsError):
        recording.create(path)
    assert path.read_text() == "dear ann"


def test_a_full_disk_ends_the_recording_only() -> None:
    async def run() -> None:
        told = Told()
        told.answers = {"/v1/queues": b"{}"}
        recorder = Recorder(told, Full(), Hand(), version="1.0.0")
        await recorder.ended.wait()
        assert "No space left" in recorder.problem
        assert await recorder.ask("GET", "/v1/queues") == b"{}"
        await recorder.aclose()

    asyncio.run(run())


def test_the_answer_is_the_newest_until_now_or_else_the_first(tmp_path: Path) -> None:
    path = written(
        tmp_path / "session.jsonl",
        *(f'{{"ms":{ms},"get":"/v1/queues","body":{{"n":{ms}}}}}' for ms in (1000, 2000, 3000)),
    )

    async def ask(source: Replay) -> bytes:
        return await source.ask("GET", "/v1/queues")

    moments = {0: b'{"n":1000}', 1000: b'{"n":1000}', 2999: b'{"n":2000}', 9000: b'{"n":3000}'}
    assert {ms: replayed(path, ms, ask) for ms in moments} == moments


def test_another_query_is_better_than_nothing_but_no_more_pages_are_made_up(
    tmp_path: Path,
) -> None:
    path = written(
        tmp_path / "session.jsonl",
        '{"ms":0,"get":"/v1/runs","query":{"limit":"9"},"body":{"items":[1]}}',
        '{"ms":0,"get":"/v1/runs/7","problem":"no run 7 (404)","status":404}',
        '{"ms":0,"get":"/v1/runs/8","problem":"cannot reach it"}',
    )

    async def work(source: Replay) -> None:
        assert await source.ask("GET", "/v1/runs", query={"limit": "5"}) == b'{"items":[1]}'
        page = await source.ask("GET", "/v1/runs", query={"limit": "9", "cursor": "3"})
        assert msgspec.json.decode(page) == {"items": [], "next_cursor": None}
        with pytest.raises(RequestRefused, match="no run 7"):
            await source.ask("GET", "/v1/runs/7")
        with pytest.raises(Away, match="cannot reach it"):
            await source.ask("GET", "/v1/runs/8")
        with pytest.raises(RequestRefused, match="not in this recording"):
            await source.ask("GET", "/v1/workers")
        with pytest.raises(RequestRefused, match="nothing can be changed"):
            await source.ask("POST", "/v1/runs/7/cancel")

    replayed(path, 0, work)


def test_a_log_comes_again_though_characters_were_torn(tmp_path: Path) -> None:
    path = tmp_path / "session.jsonl"
    told = Told()
    told.pieces = ["a ✓".encode()[:3], "a ✓".encode()[3:], b"\x1b[31mred\n", b"\xff"]

    async def work(recorder: Recorder, clock: Hand) -> None:
        async with recorder.log(7, 1) as pieces:
            async for _ in pieces:
                clock.ms += 10

    record(path, told, work)

    async def read(source: Replay) -> bytes:
        async with source.log(7, 1) as pieces:
            return b"".join([piece async for piece in pieces])

    assert replayed(path, 100, read).decode() == "a ✓\x1b[31mred\n\ufffd"


def test_what_is_no_json_is_left_out(tmp_path: Path) -> None:
    told = Told()
    told.answers = {"/v1/queues": b"<html>proxy</html>", "/v1/forecast": b'{\n "a": "\\n"\r\n}'}

    async def work(recorder: Recorder, clock: Hand) -> None:
        assert await recorder.ask("GET", "/v1/queues") == b"<html>proxy</html>"
        await recorder.ask("GET", "/v1/forecast")

    lines = record(tmp_path / "session.jsonl", told, work)
    assert [each.get("body") for each in lines[1:]] == [{"a": "\n"}]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"ms":1,"frame":{"seq":', "line 3: damaged"),
        ('{"ms":"soon"}', "line 3: damaged"),
        ("\x00\x00\x00", "line 3: damaged"),
        ("[]", "line 3: damaged"),
    ],
)
def test_a_damaged_line_is_named(tmp_path: Path, line: str, words: str) -> None:
    path = written(tmp_path / "session.jsonl", '{"ms":0,"link":"live"}', line, '{"ms":2}')
    with pytest.raises(RecordingInvalid, match=re.escape(f"{path}, {words}")):
        Replay(path, Still(0))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "line 1: this is no recording"),
        (b"\x89PNG\r\n\x1a\n\xff", "line 1: this is no recording"),
        (b'{"a":1}\n', "line 1: this is no recording"),
        (
            b'{"recording":9,"version":"1","context":"a","url":"b","at":"2026-10-15T12:41:07Z"}\n',
            "a recording of format 9, but this tpctl reads 1",
        ),
    ],
)
def test_another_file_is_not_taken_for_one(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "other"
    path.write_bytes(data)
    with pytest.raises(RecordingInvalid, match=re.escape(words)):
        Replay(path, Still(0))


def test_a_line_that_a_killed_console_left_half_is_left_out(tmp_path: Path) -> None:
    path = written(tmp_path / "session.jsonl", '{"ms":0,"get":"/v1/queues","body":{}}')
    path.write_bytes(path.read_bytes() + b'{"ms":1,"get":"/v1/qu')

    async def ask(source: Replay) -> bytes:
        return await source.ask("GET", "/v1/queues")

    assert replayed(path, 9, ask) == b"{}"
