"""Decides that after a restore statistics count what the state knows of, and nothing else."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import msgspec
import trio
from trio.testing import MockClock

from control.model import limits
from control.model.life import KnownAttempts, Lost
from control.services.statistics import Restored, Statistics
from tests.services.test_statistics import finished, inline, jobs_of, opened, skipped
from tests.store.facts.fact_samples import NOTHING_LOST, attempts_in


async def test_ends_of_a_lost_life_that_come_after_a_restore_do_not_count(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """A topic of Kafka goes on: what was not read before the restore is read after it."""
    last_id = 2_000_000_000
    attempts = {
        1: KnownAttempts(1, ()),
        2: KnownAttempts(2_002, {1}),
        3: KnownAttempts(2, {1}),
        5: KnownAttempts(2, {1}, skipped=True),
    }

    async def find_lost(retries: Sequence[tuple[int, int]]) -> Lost:
        await trio.lowlevel.checkpoint()
        assert not retries
        return msgspec.structs.replace(
            NOTHING_LOST, last_job_id=3, last_id=last_id, open_jobs=[(2, 1)], from_start=False
        )

    async def look(jobs: Collection[int]) -> Mapping[int, KnownAttempts]:
        await trio.lowlevel.checkpoint()
        assert max(jobs) <= last_id  # Nobody is asked for what is of this life.
        return {job: attempts[job] for job in jobs if job in attempts}

    with opened(tmp_path) as world:
        restored = Restored(2, last_id, find_lost, look)
        world.statistics = Statistics(world.bus, world.facts, inline, restored=restored)
        async with world.running():
            await world.publish(
                finished(1),
                finished(2, final=False),  # It was over when the backup was made.
                finished(2, attempt=2),  # It was published again, under another attempt.
                finished(3, attempt=1, final=False),
                finished(4),  # It was submitted after the backup.
                finished(last_id + 1),
            )
            await world.publish(finished(2, attempt=2_002), finished(3, attempt=2))
            # It was cancelled before this one began; the fact of that is in no backup.
            await world.publish(finished(5, final=False), finished(5, attempt=2))
            await trio.sleep(limits.FACTS_FLUSH_S + 1)
            assert world.unread() == 0
        counted = [(1, 1), (2, 1), (2, 2_002), (3, 1), (3, 2), (5, 1), (last_id + 1, 1)]
        assert attempts_in(world.facts, tmp_path) == counted


async def test_a_restored_state_counts_what_is_of_its_own_life(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    asked: list[Sequence[tuple[int, int]]] = []

    async def find_lost(retries: Sequence[tuple[int, int]]) -> Lost:
        await trio.lowlevel.checkpoint()
        asked.append(retries)
        return msgspec.structs.replace(
            NOTHING_LOST, last_job_id=3, last_id=100, open_jobs=[(2, 1)], beyond=[(1, 2)]
        )

    async def look(jobs: Collection[int]) -> Mapping[int, KnownAttempts]:
        await trio.lowlevel.checkpoint()
        return {job: KnownAttempts(2, {1}) for job in jobs if job <= 3}

    with opened(tmp_path) as world:
        async with world.running():
            await world.publish(finished(1), finished(1, attempt=2), finished(2), finished(4))
            await trio.sleep(limits.FACTS_FLUSH_S + 1)
    (tmp_path / "state.db").unlink()  # Its bus has no offsets any more.
    with opened(tmp_path) as world:
        restored = Restored(2, 100, find_lost, look)
        world.statistics = Statistics(world.bus, world.facts, inline, restored=restored)
        async with world.running():
            await world.publish(finished(2, attempt=2), finished(5), finished(101))
            await trio.sleep(limits.FACTS_FLUSH_S + 1)
        assert asked == [[(1, 2)]]
        assert jobs_of(world, tmp_path) == [1, 2, 101]


async def test_what_restored_facts_have_is_not_counted_again(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """A plane was killed before it acknowledged what its facts, and so a backup, have already."""

    async def find_lost(_: Sequence[tuple[int, int]]) -> Lost:
        await trio.lowlevel.checkpoint()
        return msgspec.structs.replace(NOTHING_LOST, last_job_id=6, last_id=100, from_start=False)

    async def look(jobs: Collection[int]) -> Mapping[int, KnownAttempts]:
        await trio.lowlevel.checkpoint()
        return {job: KnownAttempts(2, {1}) for job in jobs}

    ends = finished(1, final=False), finished(1, attempt=2), skipped(2)
    foreign = finished(6, pipeline="theirs")
    with opened(tmp_path) as world:
        async with world.running():
            await world.publish(*ends, finished(3), finished(4), foreign)
            await trio.sleep(limits.FACTS_FLUSH_S + 1)
    with opened(tmp_path) as world:
        world.facts.forget_reached()  # An archive's facts do not have it.
        restored = Restored(2, 100, find_lost, look)
        world.statistics = Statistics(world.bus, world.facts, inline, restored=restored)
        async with world.running():
            # The fact of 3 is a worker's; its job was cancelled before that began.
            await world.publish(*ends, finished(2), skipped(3), finished(4), finished(5))
            await world.publish(finished(6))
            await trio.sleep(limits.FACTS_FLUSH_S + 1)
        counted = [(1, 1), (1, 2), (2, 1), (3, 1), (4, 1), (5, 1)]
        assert attempts_in(world.facts, tmp_path) == [*counted, (6, 1), (6, 1)]
        assert world.facts.skipped(10) == [(1, 3, 1), (1, 2, 1)]
