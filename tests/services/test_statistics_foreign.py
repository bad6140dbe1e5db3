"""Decides that ends which name a job with another run change nothing of what is counted of it."""

from csv import DictReader
from pathlib import Path

import trio
from trio.testing import MockClock

from control.model import limits
from tests.services.test_statistics import finished, opened, skipped


async def test_a_skip_that_names_a_job_with_another_run_withdraws_nothing(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    with opened(tmp_path) as world:
        async with world.running():
            await world.publish(skipped(1, run_id=77), finished(1), finished(2))
            await trio.sleep(limits.FACTS_FLUSH_S + 1)
            await world.publish(skipped(2, run_id=77))
            await trio.sleep(limits.FACTS_FLUSH_S + 1)
        path = tmp_path / "facts.csv"
        world.facts.export(path, "csv")
        with path.open(encoding="utf-8") as file:
            ended = sorted(row["job_id"] for row in DictReader(file) if row["outcome"] == "done")
        assert ended == ["1", "2"]
