"""Checks how data is written in each format, and that nothing in it is taken as a command."""

import msgspec
import pytest
import yaml

from control.cli.output.formats import Format, Look, Output, OutputColumn
from control.model.json_values import Json

_NOW_MS = 1_700_000_000_000
_COLUMNS = (
    OutputColumn("ID", "id", Look.ID),
    OutputColumn("STATE", "state", Look.STATE),
    OutputColumn("WAIT p95", "wait.p95", Look.SECONDS),
    OutputColumn("AGE", "at", Look.AGE),
    OutputColumn("TOOK", "", Look.TOOK),
    OutputColumn("KINDS", "kinds", Look.KEYS),
    OutputColumn("JOBS", "jobs", Look.COUNT),
    OutputColumn("REASON", "reason"),
)
_ROW: dict[str, Json] = {
    "id": 7,
    "state": "ERROR",
    "wait": {"p95": 0.25},
    "at": "2023-11-14T22:13:10.000Z",
    "started_at": "2023-11-14T22:13:10.000Z",
    "finished_at": "2023-11-14T22:13:12.500Z",
    "kinds": {"Shell": [], "HTTP": []},
    "jobs": [1, 2],
    "reason": "[red]bad[/red]\n\x1b]0;owned\x07\x9b",
}


def output(wanted: Format | None) -> Output:
    return Output(wanted, lambda: _NOW_MS, colour=True)


def written(capsys: pytest.CaptureFixture[str], wanted: Format | None) -> str:
    output(wanted).list([_ROW], _COLUMNS, "id")
    return capsys.readouterr().out


def test_a_table_is_aligned_and_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    assert written(capsys, None).splitlines() == [
        "ID  STATE    WAIT p95  AGE   TOOK  KINDS        JOBS  REASON",
        "7   ✗ ERROR     0.25s  10s  2.50s  Shell, HTTP     2  "
        "[red]bad[/red] \\x1b]0;owned\\x07\\x9b",
    ]


def test_names_are_one_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert written(capsys, Format.NAME) == "7\n"


def test_json_is_the_servers_list(capsys: pytest.CaptureFixture[str]) -> None:
    shown = written(capsys, Format.JSON)
    assert msgspec.json.decode(shown) == {"items": [_ROW], "next_cursor": None}
    assert not set(shown) & {"\x1b", "\x07", "\x9b"}


def test_json_lines_are_one_thing_each(capsys: pytest.CaptureFixture[str]) -> None:
    shown = written(capsys, Format.JSONL)
    assert [msgspec.json.decode(line) for line in shown.splitlines()] == [_ROW]


def test_yaml_is_the_same_and_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    shown = written(capsys, Format.YAML)
    assert yaml.safe_load(shown) == {"items": [_ROW], "next_cursor": None}
    assert not set(shown) & {"\x1b", "\x07", "\x9b"}


def test_details_leave_out_what_is_not_known(capsys: pytest.CaptureFixture[str]) -> None:
    output(None).details({"id": 7, "reason": ""}, _COLUMNS, "id")
    assert capsys.readouterr().out.splitlines() == ["id        7", "state     –"]


def test_what_is_missing_is_a_dash(capsys: pytest.CaptureFixture[str]) -> None:
    output(None).list([{}], _COLUMNS, "id")
    assert capsys.readouterr().out.splitlines()[1].split() == ["–"] * len(_COLUMNS)


def test_nothing_is_said_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    output(None).list([], _COLUMNS, "id", empty="there are no runs")
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "there are no runs\n")
