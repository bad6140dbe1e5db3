"""Decides that what is old is forgotten everywhere, and nothing else is."""

from collections.abc import Sequence
from pathlib import Path

import trio
from trio.testing import MockClock

from control.model import limits
from control.services.pruner import Pruner
from store.database.writer import Tx
from store.retention import Removed
from tests.services.plane import now_ms, opened, pipeline


async def test_what_ended_too_long_ago_goes(tmp_path: Path, autojump_clock: MockClock) -> None:
    logs: list[int] = []
    facts: list[int] = []

    async def forget_logs(removed: Sequence[Removed]) -> None:
        await trio.lowlevel.checkpoint()
        logs.extend(each.run_id for each in removed)

    async def forget_facts(before_ms: int) -> None:
        await trio.lowlevel.checkpoint()
        facts.append(before_ms)

    count = limits.PRUNE_PORTION_MAX + 5
    async with opened(tmp_path) as (plane, nursery):
        plane.client("ann")
        old = await plane.submit(pipeline("p"), count=count)
        (unended,) = await plane.submit(pipeline("p"))

        def end(tx: Tx) -> None:
            for run_id in old:
                plane.ledger.cancel_run(tx, run_id, "by order", now_ms=now_ms())

        await plane.writer.write(end)
        pruner = Pruner(
            plane.writer,
            1.0,
            plane.clock,
            lambda: plane.clock_watch.settled,
            forget_logs=forget_logs,
            forget_facts=forget_facts,
        )
        await nursery.start(pruner.run)
        await trio.sleep(23 * 3_600)
        assert not logs
        (new,) = await plane.submit(pipeline("p"))
        await trio.sleep(2.5 * limits.PRUNE_EVERY_S)
        assert sorted(logs) == old
        assert [run.id for run in plane.runs()] == [unended, new]
        assert facts[-1] < now_ms()
