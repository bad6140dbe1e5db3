"""Decides that a backup of a running control plane has the facts of all that its state knows."""

from contextlib import closing
from pathlib import Path

from control.process import backups
from store.database.state import open_state
from store.facts.database import Facts
from tests.store.facts.fact_samples import NOW_MS, TOPIC, fact


def test_a_backup_waits_for_the_facts_of_what_its_state_has_ended(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    with closing(open_state(data / "state.db")) as conn:
        for job, finished_ms in ((1, NOW_MS - 3_600_000), (2, NOW_MS - 500)):
            conn.execute(
                "INSERT INTO jobs (id, run_id, idx, state, reason, priority, finished_ms)"
                " VALUES (?, 1, 0, 'DONE', '', 10, ?)",
                (job, finished_ms),
            )
    pauses: list[float] = []
    with closing(Facts(data / "facts.duckdb")) as facts:

        def export(path: Path) -> None:
            facts.export(path, "parquet")

        def pause(seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) == 2:  # Then statistics have caught up.
                facts.append([fact(2)], TOPIC, {0: 1})

        target = tmp_path / "backup"
        backups.create(data, target, export, version="1", now_ms=NOW_MS, pause=pause)
        assert len(pauses) == 2
        # What is missing for good (the file of facts was lost, say) does not hold it up for ever.
        with closing(open_state(data / "state.db")) as conn:
            conn.execute("UPDATE jobs SET finished_ms = ? WHERE id = 1", (NOW_MS,))
        backups.create(data, tmp_path / "late", export, version="1", now_ms=NOW_MS, pause=pause)
        # Nobody writes facts of a control plane that was stopped.
        count = len(pauses)
        backups.create(data, tmp_path / "stopped", export, version="1", now_ms=NOW_MS)
        assert len(pauses) == count
    other = tmp_path / "other"
    other.mkdir()
    backups.restore(target, other, now_ms=NOW_MS)
    with closing(Facts(other / "facts.duckdb")) as restored:
        assert restored.summary(3_600_000, NOW_MS).jobs == 1
