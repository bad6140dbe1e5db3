"""Decides what others can tell of a record by its headers."""

from control.core.records.headers import headers_of
from control.model.bus.messages import DrainWorker, Progressed
from control.model.numbers import JobId, RunId
from tests.core.dispatcher.leasing import placed


def test_headers_say_schema_type_and_ids() -> None:
    message = Progressed(run_id=RunId(1), job_id=JobId(22), attempt=3, progress=0.5)
    assert headers_of(message) == [
        ("schema", b"1"),
        ("type", b"progressed"),
        ("run_id", b"1"),
        ("job_id", b"22"),
        ("attempt", b"3"),
    ]


def test_a_placed_job_is_about_its_job() -> None:
    assert dict(headers_of(placed(7, "w", attempt=2)))["job_id"] == b"7"


def test_what_is_about_no_job_has_no_ids() -> None:
    assert [name for name, _ in headers_of(DrainWorker(worker="w"))] == ["schema", "type"]
