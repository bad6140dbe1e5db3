"""Decides which facts a restored state keeps: those whose ends its bus does not bring again."""

from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from control.model.bus.messages import Message
from control.model.life import Life
from control.model.names import Group, Topic
from control.process import data_epochs
from store.database.state import open_state
from store.facts.database import Facts
from tests.process.test_data_epochs import Directory
from tests.services.test_statistics import finished, skipped
from tests.store.facts.fact_samples import fact
from tests.store.facts.fact_samples import skipped as skip_fact

LIFE = Life(epoch=2, began_ms=0, last_run_id=1, last_job_id=1, jobs_to_publish=False)
OURS = {"pipeline": "p", "client": "ann"}
END = finished(1, **OURS)
SKIP = msgspec.structs.replace(skipped(1), **OURS)
FOREIGN = finished(1, **(OURS | {"pipeline": "theirs"}))
SKIPPED, ENDED = (1, 1, True), (1, 1, False)


@pytest.mark.parametrize(
    ("began", "statistics", "trigger", "kept"),
    [
        (False, [], [], [SKIPPED, ENDED]),
        (True, [FOREIGN], [FOREIGN], [SKIPPED, ENDED]),
        # The job was cancelled while an attempt was on its way, whose end came later.
        (False, [END], [], [SKIPPED]),
        (False, [SKIP], [], [ENDED]),
        (False, [SKIP, END], [], []),
        # It was cancelled while it ran: the trigger answers for it again when it reads the end.
        (True, [END], [END], []),
        (True, [], [END], [ENDED]),
        (True, [END], [], [SKIPPED]),
    ],
)
def test_of_two_ends_of_an_attempt_those_are_kept_that_come_no_more(
    tmp_path: Path,
    began: bool,
    statistics: Sequence[Message],
    trigger: Sequence[Message],
    kept: Sequence[tuple[int, int, bool]],
) -> None:
    data = Directory(tmp_path)
    data.start()
    data.commit(1, "CANCELLED")

    def unread(topic: Topic, group: Group) -> Iterable[Message]:
        if topic != Topic.TASK_RUN_RESULTS:
            return ()
        return statistics if group == Group.STATISTICS else trigger

    with closing(open_state(data.state)) as conn:
        if began:
            conn.execute("UPDATE jobs SET started_ms = 1, ready_ms = 1")
        lost = data_epochs.lost_since(conn, LIFE, unread, [], from_start=True)
    facts = Facts(tmp_path / "facts.duckdb")
    both = [fact(1, run_id=1), skip_fact(1, run_id=1)]
    facts.append(both, Topic.TASK_RUN_RESULTS, {0: 1})
    facts.enter(2, lost)
    found = [(job, number, skip) for _, job, number, _, skip in facts.counted([1])]
    facts.close()
    assert sorted(found, reverse=True) == kept
