"""Checks what `--filter` keeps of a list, how far it looks, and what it may ask about."""

from collections.abc import Iterator, Sequence

import pytest

from control.cli.errors import ExitCode, exit_code
from control.cli.output import columns
from control.cli.output.formats import Format, Output, Row
from control.cli.output.row_filter import fields, filtered
from control.model.api.fleet import PartitionView, WorkerView
from control.model.api.reports import PipelineStats, TaskStats
from control.model.api.schedules import ScheduleView
from control.model.api.views import ClientView, HookView, PipelineView, RunView
from control.model.filters import FilterInvalid
from control.model.times import to_rfc3339
from tests.cli.calling import Tpctl

NOW_MS = 1_795_000_000_000


def run(run_id: int, state: str = "DONE", **more: object) -> Row:
    row: dict[str, object] = {
        "id": run_id,
        "pipeline": "nightly" if run_id % 2 else "weekly",
        "state": state,
        "reason": "",
        "client": "ops",
        "priority": 10,
        "input": {"day": run_id},
        "created_at": to_rfc3339(NOW_MS - run_id * 60_000),
        "started_at": to_rfc3339(NOW_MS - run_id * 1_000),
        "finished_at": None,
    }
    return {**row, **more}  # type: ignore[dict-item]  # Values of JSON.


ROWS = [run(1), run(2, "ERROR", reason="exit code 2"), run(3, "IN_PROGRESS"), run(4, "READY")]


def ids(text: str | None, rows: Sequence[Row] = ROWS, **bounds: int) -> list[object]:
    out = Output(Format.TABLE, lambda: NOW_MS, colour=False)
    found = filtered(out, rows, columns.RUNS, RunView, text, **bounds)
    return [row["id"] for row in found]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (None, [1, 2, 3, 4]),
        ("", [1, 2, 3, 4]),
        ("nightly", [1, 3]),
        ("exit", [2]),
        ("state:open", [3, 4]),
        ("!state:open !nightly", [2]),
        ("id:>=3", [3, 4]),
        ("took:>2s", [3, 4]),
        ("age:<=2m", [1, 2]),
        ("input:day", [1, 2, 3, 4]),
        ("expected_seconds:<1m", []),
        ("ops", [1, 2, 3, 4]),
        ("10", []),  # The priority is shown in no column.
    ],
)
def test_rows_are_filtered_by_what_they_show_and_by_their_fields(
    text: str | None, wanted: list[object]
) -> None:
    assert ids(text) == wanted


def test_it_stops_when_it_has_enough_or_has_looked_at_enough(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def endless() -> Iterator[Row]:
        number = 0
        while True:
            number += 1
            yield run(number)

    out = Output(Format.TABLE, lambda: NOW_MS, colour=False)
    found = filtered(out, endless(), columns.RUNS, RunView, "nightly", limit=2, looked_at_max=10)
    assert [row["id"] for row in found] == [1, 3]
    assert capsys.readouterr().err == "looked at 3 rows and stopped; more may match\n"
    found = filtered(out, endless(), columns.RUNS, RunView, "monthly", limit=2, looked_at_max=10)
    out.list(found, columns.RUNS, "id", empty="there are no such runs")
    assert capsys.readouterr().err == (
        "looked at 10 rows and stopped; more may match\nnone of 10 matches the filter\n"
    )


def test_words_like_yes_are_those_of_the_table() -> None:
    out = Output(Format.TABLE, lambda: NOW_MS, colour=False)
    rows: list[Row] = [{"id": 1, "paused": True}, {"id": 2, "paused": False}]
    found = filtered(out, rows, columns.SCHEDULES, ScheduleView, "paused:yes")
    assert [row["id"] for row in found] == [1]


def test_what_a_list_counts_is_a_number() -> None:
    out = Output(Format.TABLE, lambda: NOW_MS, colour=False)
    rows: list[Row] = [{"id": "a", "running": [{}], "labels": ["gpu"]}, {"id": "b", "running": []}]
    for text in ("running:>0", "labels:gpu", "gpu"):
        found = filtered(out, rows, columns.WORKERS, WorkerView, text)
        assert [row["id"] for row in found] == ["a"]


def test_a_mistake_is_told_before_anything_is_asked_for() -> None:
    asked: list[bool] = []

    def rows() -> Iterator[Row]:
        asked.append(True)
        yield from ROWS

    out = Output(Format.TABLE, lambda: NOW_MS, colour=False)
    with pytest.raises(FilterInvalid) as refused:
        filtered(out, rows(), columns.RUNS, RunView, "colour:red")
    assert not asked
    assert "there is no field 'colour'; those there are: id, pipeline," in str(refused.value)
    assert exit_code(refused.value) == ExitCode.USAGE


@pytest.mark.parametrize(
    ("shown", "shape"),
    [
        (columns.RUNS, RunView),
        (columns.WORKERS, WorkerView),
        (columns.PARTITIONS, PartitionView),
        (columns.SCHEDULES, ScheduleView),
        (columns.PIPELINES, PipelineView),
        (columns.CLIENTS, ClientView),
        (columns.HOOKS, HookView),
        (columns.SLOW_TASKS, TaskStats),
        (columns.PIPELINE_STATS, PipelineStats),
    ],
)
def test_every_column_can_be_asked_about(shown: columns.Columns, shape: type[object]) -> None:
    known = fields(shown, shape)  # type: ignore[arg-type]  # All of them are shapes.
    assert {column.path for column in shown if column.path} <= known.keys()


def test_lengths_of_time_and_numbers_are_told_apart() -> None:
    tasks = fields(columns.SLOW_TASKS, TaskStats)
    assert {tasks[name] for name in ("mean", "p95", "p95_delta", "slot_seconds")} == {"seconds"}
    assert {tasks[name] for name in ("n", "share", "error_rate")} == {"number"}
    assert fields(columns.PIPELINE_STATS, PipelineStats)["wait.p95"] == "seconds"
    assert fields(columns.SCHEDULES, ScheduleView)["spec.cron"] == "text"
    assert fields(columns.SCHEDULES, ScheduleView)["spec.window"] == "seconds"
    assert fields(columns.PARTITIONS, PartitionView)["head.expected"] == "seconds"


def test_tpctl_refuses_a_filter_it_does_not_understand(tpctl: Tpctl) -> None:
    refused = tpctl("run", "list", "--filter", "took:>soon", "--url", "http://127.0.0.1:9")
    assert refused.code == ExitCode.USAGE
    assert "'soon' is nothing that took can be; write a length of time like 10s" in refused.err


@pytest.mark.e2e
def test_lists_can_be_filtered(online: Tpctl, nightly: str, failing: str, waiting: int) -> None:
    done = online("run", "start", nightly, "--wait", "-o", "json").row["id"]
    failed = online("run", "start", failing, "--wait", "-o", "json").row["id"]
    errors = online("run", "list", "--filter", "state:error failing", "-o", "name").out.split()
    assert str(failed) in errors
    assert not {str(done), str(waiting)} & set(errors)
    assert online("run", "list", "--filter", "state:open", "-o", "name").out.split() == [
        str(waiting)
    ]
    assert online("run", "list", "--filter", "~nghtly", "--limit", 1, "-o", "name").out.split() == [
        str(done)
    ]
    assert online("run", "list", "--filter", "took:>9h").err.endswith("matches the filter\n")
    assert online("pipeline", "list", "--filter", nightly, "-o", "name").out.split() == [nightly]
    assert online("worker", "list", "--filter", "slots:>1k", "-o", "name").out == ""
    for command in (
        ("partition", "list"),
        ("schedule", "list"),
        ("client", "list"),
        ("hook", "list", nightly),
        ("stats", "slow"),
        ("stats", "pipelines"),
    ):
        assert online(*command, "--filter", '!"not there"').code == 0
        assert online(*command, "--filter", "nothing:1").code == 2
