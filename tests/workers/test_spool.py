"""Decides what of the results survives which end of the process that kept them."""

import stat
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from control.model import limits
from control.model.states import Outcome
from control.model.worker import wire
from control.model.worker.wire import Ended, Lease
from tests.workers.gateways import lease
from workers.spool import Spool


def frame(job_id: int, error: str | None = None) -> tuple[Lease, bytes]:
    ended = Ended(
        lease=lease(job_id), outcome=Outcome.DONE, finished_ms=1, duration=0.0, error=error
    )
    return lease(job_id), wire.ENCODER.encode(ended)


def test_results_survive_without_being_closed(tmp_path: Path) -> None:
    Spool(tmp_path).add([frame(1), frame(2)])
    assert Spool(tmp_path).results == dict([frame(1), frame(2)])


def test_the_file_is_only_for_its_owner(tmp_path: Path) -> None:
    Spool(tmp_path).add([frame(1)])
    (file,) = tmp_path.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_last_acknowledgement_empties_the_file(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.add([frame(1), frame(2)])
    spool.forget([lease(1)])
    spool.forget([lease(2), lease(77)])
    (file,) = tmp_path.iterdir()
    assert file.stat().st_size == 0
    spool.add([frame(3)])
    assert Spool(tmp_path).results == dict([frame(3)])


def test_acknowledged_results_do_not_come_back(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.add([frame(1), frame(2)])
    spool.forget([lease(1)])
    spool.close()
    assert Spool(tmp_path).results == dict([frame(2)])


@given(st.data())
def test_a_torn_file_loses_only_its_torn_line(
    tmp_path_factory: object, data: st.DataObject
) -> None:
    tmp_path: Path = tmp_path_factory.mktemp("spool")  # type: ignore[attr-defined]
    frames = [frame(number) for number in range(4)]
    Spool(tmp_path).add(frames)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    size = data.draw(st.integers(0, len(whole)))
    file.write_bytes(whole[:size])
    complete = (whole[:size] + b"\n").count(b"}\n")
    again = Spool(tmp_path)
    assert again.results == dict(frames[:complete])
    again.add([frame(9)])
    assert Spool(tmp_path).results == dict([*frames[:complete], frame(9)])


def test_lines_of_other_kinds_are_skipped(tmp_path: Path) -> None:
    (tmp_path / "results.jsonl").write_bytes(b'\x00\xff\n{"t":"beat"}\n\n' + frame(1)[1])
    assert Spool(tmp_path).results == dict([frame(1)])


def test_a_file_that_is_never_empty_does_not_grow(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.add([frame(0)])
    size_max = 0
    for number in range(1, 40):
        spool.add([frame(number, "x" * limits.MIB)])
        spool.forget([lease(number)])
        size_max = max(size_max, (tmp_path / "results.jsonl").stat().st_size)
    assert size_max < limits.SPOOL_BYTES_MAX + 2 * limits.MIB
    assert Spool(tmp_path).results == dict([frame(0)])
