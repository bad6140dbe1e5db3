"""Checks the commands that need no server, and what is said when there should be one."""

import signal
import socket
import subprocess
from pathlib import Path

import pytest

from store.database.state import open_state
from tests.cli.calling import PIPELINE, TPCTL, Tpctl

_BAD = """\
name: Bad
stages: [a]
jobs:
  - {name: one, stage: b, kind: Shel}
"""
NOWHERE = "http://127.0.0.1:1"


@pytest.fixture
def good(tmp_path: Path) -> Path:
    file = tmp_path / "good.yaml"
    file.write_text(PIPELINE)
    return file


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    file = tmp_path / "bad.yaml"
    file.write_text(_BAD)
    return file


def test_a_valid_file(tpctl: Tpctl, good: Path) -> None:
    shown = tpctl("pipeline", "validate", good)
    assert (shown.code, shown.err) == (0, "")
    assert shown.out == f"{good}: nightly is valid: 2 stages, 2 jobs\n"
    assert tpctl("pipeline", "validate", good, "-o", "json").row["valid"] is True
    assert tpctl("pipeline", "validate", good, "-o", "name").out == "nightly\n"


def test_an_invalid_file_is_told_all_its_problems(tpctl: Tpctl, bad: Path, good: Path) -> None:
    shown = tpctl("pipeline", "validate", bad, good)
    assert shown.code == 2
    assert "jobs[0].stage (line 4): the stage" in shown.err
    assert "did you mean Shell?" in shown.err
    assert "nightly is valid" in shown.out  # The other file is looked at all the same.
    assert tpctl("pipeline", "validate", bad, "-o", "json").row["valid"] is False


def test_a_file_that_is_not_there(tpctl: Tpctl, tmp_path: Path) -> None:
    shown = tpctl("pipeline", "validate", tmp_path / "none.yaml")
    assert shown.code == 2
    assert "cannot read" in shown.err


def test_kinds_are_those_installed_here(tpctl: Tpctl) -> None:
    assert {"Shell", "HTTP", "Python", "Sleep"} <= set(
        tpctl("kind", "list", "-o", "name").out.split()
    )
    shown = tpctl("kind", "show", "shell")
    assert shown.code == 0
    assert [line.split()[:2] for line in shown.out.splitlines()[3:]] == [
        ["command", "yes"],
        ["cwd", "no"],
        ["shell", "no"],
    ]
    schema = tpctl("kind", "show", "Shell", "-o", "json").row["params"]
    assert isinstance(schema, dict)
    assert schema["required"] == ["command"]
    assert tpctl("kind", "show", "Nope").code == 4
    assert tpctl("kind", "show", "Shell", "--version", "9.9.9").code == 4


def test_a_cron_can_be_tried_out(tpctl: Tpctl) -> None:
    arguments = ("schedule", "preview", "--cron", "30 2 * * *", "--timezone", "Europe/Paris")
    shown = tpctl(*arguments, "--limit", 3)
    assert shown.code == 0
    assert len(shown.out.splitlines()) == 4
    wrong = tpctl("schedule", "preview", "--cron", "61 * * * *", "--timezone", "Mars")
    assert wrong.code == 2
    assert "timezone" in wrong.err
    assert tpctl("schedule", "preview", 7, "--cron", "@hourly").code == 2


def test_no_server_is_exit_code_7(tpctl: Tpctl) -> None:
    for command in (("run", "list"), ("run", "watch", 1), ("job", "logs", 1)):
        shown = tpctl(*command, "--url", NOWHERE)
        assert shown.code == 7
        assert NOWHERE in shown.err


def test_options_may_stand_before_the_command(tpctl: Tpctl) -> None:
    assert tpctl("--url", NOWHERE, "-o", "json", "run", "list").code == 7


@pytest.mark.parametrize(
    "command",
    [
        ("run", "start", "x", "--input", "{"),
        ("run", "start", "x", "--input", "@/nonexistent"),
        ("run", "start", "x", "--wait", "--detach"),
        ("run", "start", "x", "--wait", "--timeout", "soon"),
        ("run", "start", ".."),
        ("run", "list", "--since", "yesterday"),
        ("schedule", "backfill", "1", "--from", "monday", "--to", "now"),
        ("client", "update", "x"),
        ("client", "update", "x", "--max-queued", "many"),
        ("stats", "export", "--to", "facts.doc"),
        ("partition", "split", "--slow", "most", "--yes"),
        ("partition", "split", "--slow", "101", "--yes"),
        ("partition", "split", "--slow", "60"),  # Nobody can be asked.
        ("simulate", "--slow", "nan"),
        ("simulate", "--slow-threshold", "0"),
        ("simulate", "--window", "soon"),
        ("simulate", "--workers", "0"),
        ("simulate", "--file", "facts.doc"),
        ("simulate", "--file", "/nonexistent.csv"),
        ("up", "--partitions", "0"),
        ("up", "--listen", "nowhere"),
        ("up", "--config", "/nonexistent.toml"),
    ],
)
def test_what_cannot_be_asked_ends_with_2(tpctl: Tpctl, command: tuple[str, ...]) -> None:
    url = () if command[0] == "up" else ("--url", NOWHERE)
    shown = tpctl(*command, *url)
    assert (shown.code, shown.out) == (2, "")
    assert shown.err


def test_doctor_looks_into_the_data_of_a_stopped_control_plane(
    tpctl: Tpctl, tmp_path: Path
) -> None:
    folder = tmp_path / "plane"
    folder.mkdir(mode=0o700)
    open_state(folder / "state.db").close()
    credentials = folder / "credentials.toml"
    credentials.write_text(f'url = "{NOWHERE}"\nclient_id = "a"\nclient_secret = "b"\n')
    credentials.chmod(0o644)
    shown = tpctl("doctor", "--data-dir", folder)
    assert shown.code == 5
    assert "✗ credentials" in shown.out
    assert "✗ server" in shown.out
    assert "✓ stored data" in shown.out
    (folder / "state.db").write_bytes(b"not a database" * 1000)
    assert "✗ stored data" in tpctl("doctor", "--data-dir", folder).out


@pytest.mark.parametrize("flag", ["--listen", "--gateway"])
def test_an_address_that_is_taken_is_told_in_one_line(tmp_path: Path, flag: str) -> None:
    flags = {"--listen": "127.0.0.1:0", "--gateway": "127.0.0.1:0"}
    with socket.create_server(("127.0.0.1", 0)) as other:
        flags[flag] = f"127.0.0.1:{other.getsockname()[1]}"
        ended = subprocess.run(
            [*TPCTL, "up", "--data-dir", str(tmp_path), "--log-level", "error"]
            + [part for pair in flags.items() for part in pair],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert flags[flag] in line
    assert f"give {flag} another one" in line
    # Nothing was made that a later start could take for a first one's.
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_broken_statistics_keep_no_control_plane_from_starting(tmp_path: Path) -> None:
    (tmp_path / "facts.duckdb").write_text("not a database")
    address = "127.0.0.1:0"
    with subprocess.Popen(
        [*TPCTL, "up", "--data-dir", str(tmp_path), "--listen", address, "--gateway", address],
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        said = ""
        for line in process.stderr:  # It is ready, and says what is broken, in either order.
            said += line
            if "ready" in said and "not a valid DuckDB database" in said:
                break
        process.send_signal(signal.SIGTERM)
        process.stderr.read()
    assert process.returncode == 0, said
    assert "not a valid DuckDB database" in said
