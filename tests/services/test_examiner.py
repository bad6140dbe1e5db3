"""Decides how soon the stored data are spoken of, and with how old a look."""

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import pytest
import trio
from trio.testing import MockClock

from control.admission.lanes import ThreadPool
from control.model import limits
from control.services.examiner import Examiner
from store.database.state import open_state

T = TypeVar("T")


class SlowLane(ThreadPool):
    """A lane in which work takes a minute, as that on a large file does."""

    async def __call__(self, sync_fn: Callable[[], T], /) -> T:
        await trio.sleep(60)
        return sync_fn()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "state.db"
    open_state(path).close()
    return path


def spoil(path: Path) -> None:
    """Let a client have a number of waiting jobs that is not true."""
    with sqlite3.connect(path) as conn:
        conn.execute(
            "INSERT INTO clients"
            " (client_id, role, priority, enabled, secret_hash, waiting, created_ms)"
            " VALUES ('ann', 'submitter', 10, 1, 'none', 7, 0)"
        )
    conn.close()


@asynccontextmanager
async def running(path: Path, lane: ThreadPool) -> AsyncIterator[Examiner]:
    examiner = Examiner(path, lane)
    async with trio.open_nursery() as nursery:
        await nursery.start(examiner.run)
        yield examiner
        nursery.cancel_scope.cancel()


async def test_what_is_wrong_is_seen_by_the_next_look(path: Path) -> None:
    async with running(path, ThreadPool(1)) as examiner:
        with trio.fail_after(60):
            while (check := (await examiner.checks())[0]).warning:
                pass
            assert (check.ok, check.check) == (True, "stored data")
            spoil(path)
            while (check := (await examiner.checks())[0]).ok:
                pass
        assert check.check == "stored data, waiting"
        assert check.detail.startswith("ann is said to have 7 waiting jobs, and has 0")


async def test_a_long_look_is_not_waited_for(path: Path, autojump_clock: MockClock) -> None:
    async with running(path, SlowLane(1)) as examiner:
        began_s = trio.current_time()
        (first,) = await examiner.checks()
        assert trio.current_time() - began_s == pytest.approx(limits.DOCTOR_PATIENCE_S)
        assert (first.ok, first.warning) == (True, True)
        assert "ask again" in first.detail
        await trio.sleep_until(began_s + 99.5)
        (later,) = await examiner.checks()
        assert later.detail == "it is sound (as it was 100 s ago; ask again)"
        assert not later.warning


async def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(b"not a database" * 1_000)
    async with running(path, ThreadPool(1)) as examiner:
        with trio.fail_after(60):
            while (check := (await examiner.checks())[0]).warning:
                pass
    assert not check.ok
    assert "file is not a database" in check.detail


async def test_a_damaged_row_is_said_and_ends_nothing(path: Path) -> None:
    with sqlite3.connect(path) as conn:
        conn.execute("INSERT INTO bus_log VALUES ('t', 0, 0, 1, x'5b5d')")
        conn.execute("INSERT INTO bus_groups VALUES ('g', 't', 0, x'00')")
    conn.close()
    async with running(path, ThreadPool(1)) as examiner:
        for _ in range(2):
            with trio.fail_after(60):
                while (check := (await examiner.checks())[0]).warning:
                    pass
            assert not check.ok
