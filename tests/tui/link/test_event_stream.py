"""Decides that a link which has lost something is made anew."""

import asyncio

import msgspec

from control.model.api.live import Frame
from tests.tui.sources import Canned, changes, snapshot
from tui.core.store import ConsoleLink
from tui.link.event_stream import Follower


def test_a_replay_that_is_told_to_begin_anew_goes_on_where_it_was() -> None:
    async def run() -> None:
        source = Canned()
        source.tell(msgspec.json.encode(changes(seq=7)))
        links: list[ConsoleLink] = []
        taken: list[int] = []
        last = asyncio.Event()

        def take(frame: Frame) -> None:
            taken.append(frame.seq)
            if frame.seq == 7:
                follower.hurry()
                source.tell(msgspec.json.encode(changes(seq=8)))
                source.tell(msgspec.json.encode(changes(seq=9)))
            if frame.seq == 9:
                last.set()

        follower = Follower(source, frame=take, moved=links.append, now_ms=lambda: 0)
        following = asyncio.create_task(follower.run())
        await last.wait()
        following.cancel()
        await asyncio.wait([following])
        assert taken == [7, 8, 9]
        assert {link.state for link in links} == {"connecting", "live"}

    asyncio.run(run())


def test_a_frame_that_is_missing_has_everything_taken_anew() -> None:
    async def run() -> None:
        source = Canned(snapshot(), changes())
        source.tell(msgspec.json.encode(changes(seq=3)))
        source.tell(snapshot(version="2"))
        taken: list[Frame] = []
        links: list[ConsoleLink] = []
        again = asyncio.Event()

        def take(frame: Frame) -> None:
            taken.append(frame)
            if frame.version == "2":
                again.set()

        follower = Follower(source, frame=take, moved=links.append, now_ms=lambda: 0)
        following = asyncio.create_task(follower.run())
        await again.wait()
        following.cancel()
        await asyncio.wait([following])
        assert [frame.kind for frame in taken] == ["snapshot", "changes", "snapshot"]
        assert [link.state for link in links] == ["connecting", "live", "lost", "live"]
        assert "missing" in links[2].why

    asyncio.run(run())
