"""Decides how far the log of an attempt has come, whatever a job writes into it."""

from pathlib import Path

import pytest

from control.model.bus.messages import LogChunk
from control.model.numbers import JobId
from store.log_files import LogFiles

KEY = (1, 1)


def chunk(offset: int, text: str) -> LogChunk:
    return LogChunk(job_id=JobId(1), attempt=1, offset=offset, text=text)


def test_a_gap_is_one_line_and_known_after_a_restart(tmp_path: Path) -> None:
    assert LogFiles(tmp_path).append({KEY: [chunk(0, "one\n"), chunk(1004, "two\n")]}) == {
        KEY: 1008
    }
    assert LogFiles(tmp_path).reached(KEY) == 1008
    assert LogFiles(tmp_path).read(KEY, 0) == b"one\n\n[taskplane: 1,000 bytes not received]\ntwo\n"


@pytest.mark.parametrize("number", ["", ",", ",,,", "9" * 6000, "9,999" * 900, "1,00"])
def test_a_line_that_a_job_forges_ends_nothing(tmp_path: Path, number: str) -> None:
    forged = f"\n[taskplane: {number} bytes not received]\n"
    LogFiles(tmp_path).append({KEY: [chunk(0, forged)]})
    opened = LogFiles(tmp_path)
    assert opened.append({KEY: [chunk(len(forged), "more\n")]}) == {KEY: len(forged) + 5}
    assert opened.read(KEY, 0).endswith(b"more\n")
