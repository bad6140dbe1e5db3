"""Decides that a state that was restored while its topics went on runs what is open, once."""

import shutil
from pathlib import Path

import pytest

from bench.servers.broker import Broker
from tests.e2e.test_restore import FIRST_OF_SECOND_LIFE, copied, running

pytestmark = pytest.mark.kafka


def test_topics_that_are_ahead_of_a_restored_state(broker: Broker, tmp_path: Path) -> None:
    data, backup = tmp_path / "data", tmp_path / "state.db"
    flags = ["--bus", f"kafka://{broker.address}", "--topic-prefix", "restored."]
    with running(data, *flags) as plane:
        known = plane.submit(10)  # Nobody works yet: they are open in the backup.
        copied(data, backup)
    with running(data, *flags, "--workers", "2") as plane:
        lost = plane.submit(5)
        plane.wait(known + lost)
    for name in ("state.db-wal", "state.db-shm"):
        (data / name).unlink(missing_ok=True)
    shutil.copyfile(backup, data / "state.db")
    with running(data, *flags, "--workers", "2") as plane:
        plane.wait(known)
        fresh = plane.submit(5)
        assert fresh[0] == FIRST_OF_SECOND_LIFE
        plane.wait(fresh)
        plane.check(known + fresh)
        (job, _) = plane.client.get(f"/v1/runs/{known[0]}/jobs").json()["items"]
        assert job["attempt"] == 2_001
