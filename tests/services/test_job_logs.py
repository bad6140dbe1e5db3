"""Holds logs to being complete, honest about what is missing, and followed without polling."""

import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing
from pathlib import Path

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from control.bus.embedded.bus import EmbeddedBus
from control.bus.embedded.log import Journal
from control.model import limits
from control.model.bus.messages import Finished, LogChunk
from control.model.bus.records import Record
from control.model.errors import StoreFailed
from control.model.names import Topic
from control.model.states import Outcome, Speed
from control.services.job_logs import JobLogs
from store.bus_log import SqliteLogRows
from store.database.state import open_state
from store.database.writer import Tx
from store.log_files import LogFiles
from store.retention import Removed


async def inline(work: Callable[[], object]) -> object:
    """The offload port as tests have it: no thread."""
    await trio.lowlevel.checkpoint()
    return work()


class World:
    """Logs on a bus whose writer works at once."""

    def __init__(self, folder: Path) -> None:
        self.conn = open_state(folder / "state.db")
        self.journal = Journal(SqliteLogRows())
        self.bus = EmbeddedBus(self.journal, self._write)  # type: ignore[arg-type]  # Any result.
        self.files = LogFiles(folder / "logs")
        self.logs = JobLogs(self.bus, self.files, inline)  # type: ignore[arg-type]  # As above.

    async def _write(self, work: Callable[[Tx], object]) -> object:
        tx = Tx(self.conn)
        self.conn.execute("BEGIN IMMEDIATE")
        result = work(tx)
        after = self.journal.persist(self.conn, [tx])
        self.conn.execute("COMMIT")
        after()
        await trio.lowlevel.checkpoint()
        return result

    async def say(self, offset: int, text: str, attempt: int = 1, job: int = 7) -> None:
        """A chunk comes."""
        chunk = LogChunk(job_id=job, attempt=attempt, offset=offset, text=text)
        await self.bus.publish([Record(Topic.TASK_RUN_LOGS, chunk)])
        await trio.testing.wait_all_tasks_blocked()

    async def end(self, log_bytes: int) -> None:
        """The attempt ends."""
        message = Finished(
            run_id=1,
            job_id=7,
            attempt=1,
            pipeline="p",
            name="n",
            stage="s",
            client="c",
            kind="Shell",
            version="1.0.0",
            worker="w",
            partition=0,
            speed=Speed.FAST,
            outcome=Outcome.DONE,
            final=True,
            expected=1.0,
            ready_ms=0,
            started_ms=0,
            finished_ms=0,
            wait_seconds=0,
            duration_seconds=0,
            log_bytes=log_bytes,
        )
        await self.bus.publish([Record(Topic.TASK_RUN_RESULTS, message)])

    async def text(self, attempt: int = 1) -> str:
        """What is kept."""
        return b"".join([piece async for piece in self.logs.read(7, attempt)]).decode()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    found = World(tmp_path)
    yield found
    found.files.close()
    found.conn.close()


async def test_text_is_kept_as_it_came(world: World, tmp_path: Path, nursery: trio.Nursery) -> None:
    await nursery.start(world.logs.run)
    await world.say(0, "one\n\x1b[31mtwo")
    await world.say(12, "\nthree\n")
    await world.say(0, "again\n", attempt=2)
    assert await world.text() == "one\n\x1b[31mtwo\nthree\n"
    assert await world.text(2) == "again\n"
    assert await world.text(3) == ""
    [path, _] = sorted((tmp_path / "logs").rglob("*.log"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_gap_is_said_and_a_repetition_is_not_kept(
    world: World, nursery: trio.Nursery
) -> None:
    await nursery.start(world.logs.run)
    await world.say(0, "abc")
    await world.say(1, "bcd")
    await world.say(1238, "x")
    world.files.close()  # As after a restart: the files tell how far they had come.
    await world.say(1238, "xy")
    assert await world.text() == "abcd\n[taskplane: 1,234 bytes not received]\nxy"


async def test_a_log_does_not_grow_for_ever(world: World, nursery: trio.Nursery) -> None:
    await nursery.start(world.logs.run)
    block = "x" * limits.LOG_CHUNK_BYTES_MAX
    for at in range(limits.LOG_ATTEMPT_BYTES_MAX // len(block) + 3):
        await world.say(at * len(block), block)
    assert len(await world.text()) < limits.LOG_ATTEMPT_BYTES_MAX + 2 * len(block)
    assert (await world.text()).endswith("the rest is left out]\n")


async def follow(world: World, heard: list[bytes], known: int | None, done: trio.Event) -> None:
    async def log_bytes() -> int | None:
        await trio.lowlevel.checkpoint()
        return known

    async with aclosing(world.logs.follow(7, 1, log_bytes)) as pieces:
        async for piece in pieces:
            heard.append(piece)  # noqa: PERF401 - others look at it meanwhile.
    done.set()


async def test_a_follower_hears_all_and_then_leaves(
    world: World, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    await nursery.start(world.logs.run)
    heard: list[bytes] = []
    done = trio.Event()
    await world.say(0, "a")
    nursery.start_soon(follow, world, heard, None, done)
    await world.say(1, "b")
    await world.end(3)
    await trio.testing.wait_all_tasks_blocked()
    assert not done.is_set()
    await world.say(2, "c")
    await done.wait()
    assert b"".join(heard) == b"abc"


async def test_a_follower_that_comes_between_the_end_and_its_record_leaves_too(
    world: World, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    await nursery.start(world.logs.run)
    await world.say(0, "all")
    await world.end(3)
    await trio.testing.wait_all_tasks_blocked()
    heard: list[bytes] = []
    with trio.fail_after(60):  # The state does not say yet that it has ended.
        await follow(world, heard, None, trio.Event())
    assert b"".join(heard) == b"all"


async def test_a_follower_does_not_wait_for_what_was_lost(
    world: World, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    await nursery.start(world.logs.run)
    heard: list[bytes] = []
    await world.say(0, "a")
    began = trio.current_time()
    await follow(world, heard, 10, trio.Event())
    assert b"".join(heard) == b"a"
    assert trio.current_time() - began == pytest.approx(limits.LOG_LAST_S)
    await follow(world, heard, 1, trio.Event())
    assert heard == [b"a", b"a"]


async def test_logs_go_with_their_runs(world: World, tmp_path: Path, nursery: trio.Nursery) -> None:
    await nursery.start(world.logs.run)
    await world.say(0, "a")
    await world.say(0, "b", attempt=2)
    await world.say(0, "c", job=8)
    await world.logs.forget([Removed(run_id=1, first_job_id=6, job_count=2)])
    assert [path.name for path in (tmp_path / "logs").rglob("*.log")] == ["8.1.log"]
    await world.logs.forget([Removed(run_id=2, first_job_id=8, job_count=1)])
    assert list((tmp_path / "logs").rglob("*.log")) == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    st.lists(st.text(alphabet="aé\n€", min_size=1, max_size=8), min_size=1, max_size=8),
    st.sets(st.integers(0, 7)),
    st.sets(st.integers(0, 7)),
)
def test_what_comes_is_there_and_the_rest_is_counted(
    tmp_path_factory: pytest.TempPathFactory,
    texts: Sequence[str],
    lost: set[int],
    reopened: set[int],
) -> None:
    files = LogFiles(tmp_path_factory.mktemp("logs"))
    offset, expected, missing = 0, b"", 0
    for at, text in enumerate(texts):
        if at in lost:
            missing += len(text.encode())
        else:
            if missing:
                expected += f"\n[taskplane: {missing:,} bytes not received]\n".encode()
            expected, missing = expected + text.encode(), 0
            chunk = LogChunk(job_id=1, attempt=1, offset=offset, text=text)
            reached = files.append({(1, 1): [chunk, chunk]})
            assert reached == {(1, 1): offset + len(text.encode())}
        offset += len(text.encode())
        if at in reopened:
            files.close()
    assert files.read((1, 1), 0) == expected
    files.close()


async def test_logs_that_cannot_be_written_or_read_are_said(
    world: World, tmp_path: Path, nursery: trio.Nursery
) -> None:
    await nursery.start(world.logs.run)
    await world.say(0, "before ")
    (tmp_path / "logs").rename(tmp_path / "aside")
    (tmp_path / "logs").touch()  # No folder any more.
    await world.say(0, "nowhere", job=8)
    assert "cannot be written" in (world.logs.failing or "")
    with pytest.raises(StoreFailed, match="cannot be read"):
        await world.logs.check(8, 1)
    (tmp_path / "logs").unlink()
    (tmp_path / "aside").rename(tmp_path / "logs")
    await world.say(7, "after")
    assert world.logs.failing is None
    assert await world.text() == "before after"


async def test_a_log_that_was_removed_while_it_was_open_is_begun_again(
    world: World, tmp_path: Path, nursery: trio.Nursery
) -> None:
    await nursery.start(world.logs.run)
    await world.say(0, "lost")
    shutil.rmtree(tmp_path / "logs")
    await world.say(4, "kept")
    assert await world.text() == "\n[taskplane: 4 bytes not received]\nkept"
