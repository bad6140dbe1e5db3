"""Owns sources of data for tests of the whole console, and what it takes to drive it by keys."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Final

import msgspec
from textual import events
from textual.pilot import Pilot

from bench.shots import scene
from bench.shots.camera import Still
from control.model.api.live import Frame, Watch
from control.model.json_values import Json
from control.model.states import Role
from tests.tui.samples import NOW, at
from tui.app import Console
from tui.keyboard import OrderlyKeys
from tui.link.contexts import Colours
from tui.link.replay import Replay
from tui.link.source import ConsoleTarget, LinkError, RequestRefused, Source
from tui.screens.screen_frame import Framed

WIDE: Final = (120, 36)
_TRIES: Final = 2_000
_ROUNDS: Final = 2
_NAMES: Final = {
    ":": "colon",
    "?": "question_mark",
    "+": "plus",
    "/": "slash",
    " ": "space",
    "-": "minus",
    ">": "greater_than_sign",
    "<": "less_than_sign",
    "_": "underscore",
    ".": "full_stop",
    "@": "at",
    "!": "exclamation_mark",
}
Body = Callable[[], Awaitable[None]]
_SIGNS: Final = {name: sign for sign, name in _NAMES.items()}


class Hand:
    """A clock that is put by hand."""

    def __init__(self, now_ms: int = NOW) -> None:
        self.ms = now_ms

    def __call__(self) -> int:
        return self.ms


class Canned:
    """A control plane made of frames that a test tells, and of answers by their paths.

    What is not there is refused with 404. What would change something is done, and kept in `sent`.
    """

    def __init__(self, *frames: Frame, answers: Mapping[str, object] | None = None) -> None:
        self.sent: list[tuple[str, str, Json]] = []
        self.answers: dict[str, object] = dict(answers or {})
        self.pieces: list[bytes] = []
        self.silent = False  # Whether questions wait for an answer for ever.
        self.watches: list[Watch] = []
        self._frames: asyncio.Queue[bytes | LinkError] = asyncio.Queue()
        self._seq = count()
        for frame in frames:
            self.tell(frame)

    @property
    def target(self) -> ConsoleTarget:
        return ConsoleTarget(name="prod", url="http://prod:8700")

    def tell(self, frame: Frame | bytes) -> None:
        """The next frame, with its number."""
        if isinstance(frame, Frame):
            frame = msgspec.structs.replace(frame, seq=next(self._seq))
        self._frames.put_nowait(frame if isinstance(frame, bytes) else msgspec.json.encode(frame))

    def lose(self, error: LinkError) -> None:
        """The link breaks."""
        self._frames.put_nowait(error)

    @asynccontextmanager
    async def frames(self) -> AsyncIterator[AsyncIterator[bytes]]:
        yield self._told()

    async def _told(self) -> AsyncIterator[bytes]:
        while True:
            found = await self._frames.get()
            if isinstance(found, LinkError):
                raise found
            yield found

    async def watch(self, wanted: Watch) -> None:
        self.watches.append(wanted)

    async def ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Json = None,
    ) -> bytes:
        del query
        if self.silent:
            await asyncio.Event().wait()
        if method != "GET":
            self.sent.append((method, path, body))
            return b"{}"
        found = self.answers.get(path)
        if found is None:
            message = "there is no such thing (404)"
            raise RequestRefused(message, 404)
        return msgspec.json.encode(found)

    @asynccontextmanager
    async def log(self, job_id: int, attempt: int) -> AsyncIterator[AsyncIterator[bytes]]:
        del job_id, attempt
        yield self._pieces()

    async def _pieces(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            yield piece

    async def aclose(self) -> None:
        pass


class Obedient:
    """The made-up system of the pictures, which also does what it is told; see `sent`."""

    def __init__(self, recording: Path, *, role: Role = Role.OPERATOR) -> None:
        self.sent: list[tuple[str, str, Json]] = []
        self._role = role
        self._replay = Replay(recording, Still(scene.SEEN_MS))
        self.log = self._replay.log
        self.watch = self._replay.watch
        self.aclose = self._replay.aclose

    @property
    def target(self) -> ConsoleTarget:
        return self._replay.target

    def now_ms(self) -> int:
        """The made-up system's time."""
        return self._replay.now_ms()

    @asynccontextmanager
    async def frames(self) -> AsyncIterator[AsyncIterator[bytes]]:
        async with self._replay.frames() as frames:
            yield self._with_role(frames)

    async def _with_role(self, frames: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for raw in frames:
            frame = msgspec.json.decode(raw, type=Frame)
            yield msgspec.json.encode(msgspec.structs.replace(frame, role=self._role))

    async def ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Json = None,
    ) -> bytes:
        if method != "GET":
            self.sent.append((method, path, body))
            return b"{}"
        return await self._replay.ask(method, path, query=query)


def snapshot(**given: object) -> Frame:
    """A snapshot with these things in it."""
    values: dict[str, Any] = {
        "seq": 0,
        "time": at(0),
        "kind": "snapshot",
        "version": "1",
        "client_id": "ann",
        "role": Role.OPERATOR,
        "workers": [],
        "partitions": [],
    }
    return Frame(**(values | given))


def changes(**given: object) -> Frame:
    """A frame of changes."""
    values: dict[str, Any] = {"seq": 1, "time": at(0), "kind": "changes"}
    return Frame(**(values | given))


@asynccontextmanager
async def _opened(app: Console, size: tuple[int, int]) -> AsyncIterator[Pilot[Any]]:
    async with app.run_test(size=size) as pilot:
        link = asyncio.create_task(app.session.run())
        try:
            yield pilot
            if link.done():
                link.result()
        finally:
            link.cancel()
            await asyncio.wait([link])
            await app.source.aclose()


def drive(
    source: Source,
    body: Callable[[Console, Pilot[Any]], Awaitable[None]],
    *,
    now_ms: Callable[[], int] | None = None,
    size: tuple[int, int] = WIDE,
    replayed: bool = False,
    theme: str | None = None,
    themes: Mapping[str, Colours] | None = None,
) -> None:
    """Run the console on this source, and do this with it."""

    async def run() -> None:
        app = Console(
            source,
            now_ms=now_ms or Hand(),
            version="1",
            replayed=replayed,
            theme=theme,
            themes=themes,
        )
        async with _opened(app, size) as pilot:
            await body(app, pilot)

    asyncio.run(run())


class Held:
    """A console that stays open between pieces of a test: opening one takes half a second."""

    app: Console
    pilot: Pilot[Any]

    def __init__(self, runner: asyncio.Runner) -> None:
        self._runner = runner
        self._bodies: asyncio.Queue[tuple[Body, asyncio.Future[None]]] = asyncio.Queue()

    def do(self, body: Body) -> None:
        """Do this with it, in its own task: Textual's widgets find their app by that."""

        async def ask() -> None:
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._bodies.put_nowait((body, done))
            await asyncio.wait([done, self._serving], return_when=asyncio.FIRST_COMPLETED)
            if self._serving.done():
                self._serving.result()
            done.result()

        self._runner.run(ask())

    def begin(self, source: Source, now_ms: Callable[[], int], size: tuple[int, int]) -> None:
        """Open it."""

        async def open_it() -> None:
            self._serving = asyncio.create_task(self._serve(source, now_ms, size))

        async def nothing() -> None:
            pass

        self._runner.run(open_it())
        self.do(nothing)

    def end(self) -> None:
        """Close it."""

        async def close_it() -> None:
            self._serving.cancel()
            await asyncio.wait([self._serving])

        self._runner.run(close_it())

    async def _serve(
        self, source: Source, now_ms: Callable[[], int], size: tuple[int, int]
    ) -> None:
        self.app = Console(source, now_ms=now_ms, version="1")
        async with _opened(self.app, size) as self.pilot:
            while True:
                body, done = await self._bodies.get()
                try:
                    await body()
                except Exception as error:  # noqa: BLE001 - it is told to who has asked.
                    done.set_exception(error)
                else:
                    done.set_result(None)


@contextmanager
def held(source: Source, now_ms: Callable[[], int], size: tuple[int, int] = WIDE) -> Iterator[Held]:
    """A console that is open for many examples."""
    with asyncio.Runner() as runner:
        console = Held(runner)
        console.begin(source, now_ms, size)
        try:
            yield console
        finally:
            console.end()


async def until(pilot: Pilot[Any], holds: Callable[[], object], what: str = "") -> None:
    """Wait until something holds."""
    for _ in range(_TRIES):
        if holds():
            return
        await pilot.pause(0)
    message = f"it never came: {what or holds}"
    raise AssertionError(message)


async def rest(pilot: Pilot[Any]) -> None:
    """Wait until all that was sent to the screen and its panes has been heeded."""
    for _ in range(_TRIES):
        await pilot.pause(0)
        if not isinstance(pilot.app, OrderlyKeys) or pilot.app.takes_keys:
            break
    for _ in range(_ROUNDS):
        await pilot.pause(0)


async def press(pilot: Pilot[Any], *keys: str) -> None:
    """Press keys, one after the other; much sooner back than the pilot's own."""
    for key in keys:
        burst(pilot, key)
        await rest(pilot)


def burst(pilot: Pilot[Any], *keys: str) -> None:
    """Send keys all at once, as when they are pasted, or typed ahead."""
    for key in keys:
        sign = _SIGNS.get(key, key if len(key) == 1 else None)
        pilot.app.post_message(events.Key(_NAMES.get(key, key), sign))


async def typed(pilot: Pilot[Any], text: str) -> None:
    """Type a command or filter, and enter it."""
    await press(pilot, *text, "enter")


async def drawn(app: Console, pilot: Pilot[Any]) -> list[str]:
    """The lines on the screen, once everything that was due is drawn."""
    for _ in range(2):
        if isinstance(app.screen, Framed):
            app.screen.flush(order=True)
        await rest(pilot)
    return picture(app)


def picture(app: Console) -> list[str]:
    """The lines on the screen, as they would reach the terminal."""
    compositor = app.screen._compositor  # noqa: SLF001 - there is no public way to the text.
    strips = compositor.render_strips(app.size)
    return ["".join(segment.text for segment in strip) for strip in strips]
