"""Checks every command that asks a server, against a real control plane with a real worker."""

import os
import signal
import stat
import subprocess
from pathlib import Path

import msgspec
import pytest
import yaml

from tests.cli.calling import (
    FAILING,
    PIPELINE,
    TPCTL,
    Tpctl,
    process_environment,
    spawn,
    write,
)

pytestmark = pytest.mark.e2e
# Ends by order only.
_SLOW_TALKER = """\
name: talker
stages: [a]
jobs:
  - {name: talk, stage: a, kind: Shell, params: {command: "echo first; exec sleep 60"}}
"""


def test_pipelines(online: Tpctl, tmp_path: Path) -> None:
    file = write(tmp_path, PIPELINE.replace("nightly", "lifecycle"))
    assert online("pipeline", "apply", file).out == "lifecycle: created, revision 1\n"
    assert online("pipeline", "apply", file).out == "lifecycle: unchanged, revision 1\n"
    file.write_text(file.read_text().replace("seconds: 0", "seconds: 1"))
    applied = online("pipeline", "apply", file, "-o", "json").row
    assert (applied["effect"], applied["revision"]) == ("changed", 2)
    assert "lifecycle" in online("pipeline", "list", "-o", "name").out.split()
    assert "[bold]not markup[/bold]" in online("pipeline", "list").out
    definition = online("pipeline", "show", "lifecycle")
    assert yaml.safe_load(definition.out)["name"] == "lifecycle"
    file.write_text(definition.out)
    assert "unchanged" in online("pipeline", "apply", file).out  # What is shown can be applied.
    assert online("pipeline", "delete", "lifecycle", "--yes").code == 0
    assert online("pipeline", "show", "lifecycle").code == 4
    assert online("pipeline", "delete", "lifecycle", "--yes").code == 4


def test_what_a_trigger_will_not_start_is_warned_of(online: Tpctl, tmp_path: Path) -> None:
    trigger = "triggers: [{pipeline: not-there-yet}]\n"
    file = write(tmp_path, PIPELINE.replace("nightly", "triggering") + trigger)
    for command in ("validate", "apply"):
        shown = online("pipeline", command, file)
        assert shown.code == 0
        assert "warning: triggers[0].pipeline: there is no pipeline not-there-yet" in shown.err
        assert "warning" not in shown.out
    assert online("pipeline", "delete", "triggering", "--yes").code == 0


def test_a_bad_file_does_not_keep_the_others_from_being_applied(
    online: Tpctl, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("name: bad\nstages: [a]\njobs: []\n")
    nameless = tmp_path / "nameless.yaml"
    nameless.write_text("stages: [a]\n")
    good = write(tmp_path, PIPELINE)
    shown = online("pipeline", "apply", bad, nameless, good)
    assert shown.code == 2
    assert f"{bad}: jobs (line 3)" in shown.err
    assert f"{nameless}: " in shown.err
    assert "nightly: " in shown.out


def test_a_run_that_is_waited_for(online: Tpctl, nightly: str) -> None:
    shown = online("run", "start", nightly, "--input", '{"day": 1}', "--wait", "-o", "json")
    assert shown.code == 0
    run = shown.row
    assert (run["state"], run["input"], run["trigger"]) == ("DONE", {"day": 1}, "manual")
    assert f"run {run['id']} of nightly: DONE — a 1/1, b 1/1" in shown.err
    run_id = str(run["id"])
    assert online("run", "watch", run_id).code == 0
    details = online("run", "show", run_id)
    assert "✓ DONE" in details.out
    assert "one" in details.out
    jobs = online("run", "show", run_id, "-o", "json").row["jobs"]
    assert isinstance(jobs, list)
    assert len(jobs) == 2
    assert online("run", "logs", run_id).out == "one | hello\none | world\n"
    assert online("run", "logs", run_id, "--job", "one", "--follow").out == "hello\nworld\n"
    assert online("run", "logs", run_id, "--job", "none").code == 4
    assert online("run", "logs", run_id, "--job", "none", "--follow").code == 4
    assert online("run", "retry", run_id).code == 4  # There is nothing to retry.


def test_attempts_tell_their_logs_in_order(online: Tpctl, tmp_path: Path) -> None:
    params = '{command: "echo attempt $TP_ATTEMPT; exit 3"}'
    file = tmp_path / "stubborn.yaml"
    file.write_text(
        "name: stubborn\nstages: [a]\njobs:\n"
        f"  - {{name: no, stage: a, kind: Shell, retry_attempt: 5, params: {params}}}\n"
    )
    shown = online("run", "submit", file, "--wait", "--logs")
    assert shown.code == 1
    assert shown.out.splitlines() == [f"no | attempt {number}" for number in range(1, 7)]


def test_logs_are_data_unless_other_data_was_asked_for(online: Tpctl, nightly: str) -> None:
    shown = online("run", "start", nightly, "--logs")
    assert (shown.code, shown.out) == (0, "one | hello\none | world\n")
    shown = online("run", "start", nightly, "--logs", "-o", "json")
    assert shown.row["state"] == "DONE"
    assert "one | hello" in shown.err


def test_a_run_that_fails(online: Tpctl, failing: str) -> None:
    shown = online("run", "start", failing, "--wait", "-o", "name")
    assert shown.code == 1
    run_id = shown.out.strip()
    assert "broken: " in shown.err
    assert "exit code 3" in shown.err
    listed = online("run", "list", "--pipeline", failing, "--state", "error", "--since", "1h")
    assert "✗ ERROR" in listed.out
    assert run_id in online("run", "list", "--all", "--client", "admin", "-o", "name").out.split()
    limited = online("run", "list", "--limit", "1", "-o", "json").row
    assert limited["next_cursor"] is not None
    assert online("run", "retry", run_id, "--wait").code == 1


def test_a_file_is_run_once(online: Tpctl, tmp_path: Path) -> None:
    given = tmp_path / "input.json"
    given.write_text("[1, 2]")
    file = write(tmp_path, PIPELINE.replace("nightly", "once"))
    shown = online("run", "submit", file, "--input", f"@{given}", "--wait", "-o", "json")
    assert (shown.code, shown.row["revision"], shown.row["input"]) == (0, None, [1, 2])
    assert online("pipeline", "show", "once").code == 4
    bad = write(tmp_path, FAILING.replace("kind: Shell", "kind: Shel"))
    refused = online("run", "submit", bad)
    assert refused.code == 2
    assert "jobs[0].kind (line 4)" in refused.err


def test_a_key_starts_one_run_only(online: Tpctl, nightly: str) -> None:
    arguments = ("run", "start", nightly, "--idempotency-key", "k1", "--detach", "-o", "name")
    first, second = online(*arguments), online(*arguments)
    assert (first.code, first.out) == (0, second.out)


def test_a_run_that_does_not_end(online: Tpctl, waiting: int) -> None:
    shown = online("run", "watch", waiting, "--timeout", "1s")
    assert shown.code == 6
    assert f"still running: tpctl run watch {waiting}" in shown.err
    job = online("run", "show", waiting, "-o", "json").row["jobs"]
    assert isinstance(job, list)
    assert isinstance(job[0], dict)
    job_id = str(job[0]["id"])
    assert online("job", "show", job_id).code == 0
    explained = online("job", "explain", job_id)
    assert explained.code == 0
    assert "unobtainable" in explained.out
    assert online("job", "cancel", job_id).code == 0
    assert online("run", "watch", waiting).code == 1
    assert online("run", "cancel", waiting).code == 4


def test_ctrl_c_detaches(online: Tpctl, plane: Path, waiting: int) -> None:
    with spawn(plane, "run", "watch", waiting) as process:
        assert process.stderr is not None
        process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
        assert process.returncode == 130
        assert said == f"still running: tpctl run watch {waiting}\n"
    assert online("run", "show", waiting, "-o", "json").row["state"] == "READY"


def test_logs_are_followed_as_they_come(online: Tpctl, plane: Path, tmp_path: Path) -> None:
    run_id = online("run", "submit", write(tmp_path, _SLOW_TALKER), "-o", "name").out.strip()
    with spawn(plane, "run", "logs", run_id, "--follow") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "talk | first\n"
        assert online("run", "cancel", run_id).code == 0
        process.communicate()
        assert process.returncode == 0


def test_nothing_commands_a_terminal(online: Tpctl, plane: Path, tmp_path: Path) -> None:
    text = PIPELINE.replace("hello", "\\\\033]0;owned\\\\007\\\\033[31mhello\\\\033[0m")
    run = online("run", "submit", write(tmp_path, text), "--wait", "-o", "json").row
    jobs = online("run", "show", str(run["id"]), "-o", "json").row["jobs"]
    assert isinstance(jobs, list)
    assert isinstance(jobs[0], dict)
    arguments = [*TPCTL, "job", "logs", str(jobs[0]["id"])]
    raw = subprocess.run(
        arguments, env=process_environment(plane), capture_output=True, check=True
    ).stdout
    assert raw == b"\x1b]0;owned\x07\x1b[31mhello\x1b[0m\nworld\n"
    shown = _on_a_terminal(arguments, plane, {})
    assert b"owned" not in shown
    assert b"\x1b[31mhello" in shown
    assert b"\x1b" not in _on_a_terminal(arguments, plane, {"NO_COLOR": "1"})


def _on_a_terminal(arguments: list[str], plane: Path, extra: dict[str, str]) -> bytes:
    ours, theirs = os.openpty()
    environment = {**process_environment(plane), "TERM": "xterm", **extra}
    with subprocess.Popen(arguments, env=environment, stdout=theirs) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                piece = os.read(ours, 4096)
            except OSError:  # Linux's way to say that the other end is closed.
                break
            if not piece:
                break
            shown += piece
        os.close(ours)
        assert process.wait() == 0
    return shown


def test_a_reader_that_has_seen_enough(online: Tpctl, plane: Path, nightly: str) -> None:
    with spawn(plane, "run", "list", "-o", "jsonl") as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait() == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_schedules(online: Tpctl, nightly: str) -> None:
    listed = online("schedule", "list", "--pipeline", nightly, "-o", "json").row["items"]
    assert isinstance(listed, list)
    assert isinstance(listed[0], dict)
    schedule = str(listed[0]["id"])
    assert "0 4 * * *" in online("schedule", "list").out
    assert online("schedule", "preview", "--until", "2d").code == 0
    assert online("schedule", "preview", schedule, "--limit", "1").code == 0
    assert online("schedule", "pause", schedule, "-o", "json").row["paused"] is True
    assert online("schedule", "resume", schedule, "-o", "json").row["paused"] is False
    assert online("schedule", "trigger", schedule).code == 0
    stretch = ("--from", "2d", "--to", "1s")
    assert "runs planned of" in online("schedule", "backfill", schedule, *stretch).out
    assert online("schedule", "backfill", schedule, "--from", "now", "--to", "2d").code == 2
    assert online("schedule", "pause", "99999").code == 4


def test_workers_and_partitions(online: Tpctl, nightly: str) -> None:
    assert online("run", "start", nightly, "--wait").code == 0  # The worker is connected now.
    assert "local" in online("worker", "list").out
    assert online("worker", "drain", "nobody").code == 4
    assert len(online("partition", "list", "-o", "name").out.split()) == 10


def test_the_split_is_shown_predicted_and_set(online: Tpctl, nightly: str) -> None:
    assert online("run", "start", nightly, "--wait").code == 0
    shown = online("partition", "split")
    assert "slow partitions, %      60" in shown.out
    assert online("partition", "split", "-o", "json").row["slow"] == 60.0
    refused = online("partition", "split", "--slow", "30")
    assert refused.code == 2
    assert "--yes" in refused.err
    changed = online("partition", "split", "--slow", "30%", "--yes")
    assert changed.code == 0, changed.err
    assert "partitions: 30 % of them for slow jobs" in changed.out
    back = online("partition", "split", "--slow", "auto", "--yes", "-o", "json").row
    assert back["slow"] == "auto"
    assert "forecast" in back
    assert online("partition", "split", "--slow", "60", "--yes").code == 0


def test_recorded_jobs_are_played_again(online: Tpctl, nightly: str, tmp_path: Path) -> None:
    assert online("run", "start", nightly, "--wait").code == 0
    facts = tmp_path / "facts.csv"
    for _ in range(100):  # They come in batches, a moment after the end.
        assert online("stats", "export", "--to", facts).code == 0
        if "nightly" in facts.read_text():
            break
    for given in ((), ("--file", str(facts))):
        changes = ("--workers", "3", "--slots", "2", "--slow", "auto", "--no-lend", "--late", "0")
        found = online("simulate", *given, *changes, "-o", "json").row
        now, then = found["now"], found["what_if"]
        assert isinstance(now, dict)
        assert isinstance(then, dict)
        assert (now["workers"], now["slots"], now["lend"]) == (1, 2, True)
        assert (then["workers"], then["slots"], then["lend"]) == (3, 6, False)
        assert then["slow"] == "auto"
    table = online("simulate", "--slow", "20")
    assert "WHAT IF" in table.out
    assert "WHAT IF" not in online("simulate").out  # Nothing is to be otherwise.


def test_statistics(online: Tpctl, nightly: str, tmp_path: Path) -> None:
    assert online("stats", "summary").code == 0
    assert "window" in online("stats", "summary", "--window", "1h", "-o", "json").row
    assert online("stats", "pipelines", "--window", "7d").code == 0
    assert online("stats", "slow", "--limit", "5").code == 0
    assert online("stats", "summary", "--window", "soon").code == 2


def test_facts_can_be_taken_home(online: Tpctl, tmp_path: Path) -> None:
    target = tmp_path / "facts.csv"
    shown = online("stats", "export", "--to", target)
    if shown.code == 4 and "nothing at this path" in shown.err:
        pytest.skip("this API has no export and no SQL")
    assert shown.code == 0
    assert target.read_text().startswith("run_id,")
    query = ("stats", "sql", "SELECT 1 AS one, 'a' AS letter")
    assert online(*query).out.split() == ["one", "letter", "1", "a"]
    assert online(*query, "-o", "jsonl").out == '{"one":1,"letter":"a"}\n'
    assert msgspec.json.decode(online(*query, "-o", "json").out)["columns"] == ["one", "letter"]
    assert online("stats", "sql", "DROP TABLE facts").code in {2, 4}


def test_one_data_directory_is_for_one_control_plane(online: Tpctl, plane: Path) -> None:
    second = online("up", "--data-dir", plane, "--listen", "127.0.0.1:0")
    assert second.code == 2
    assert str(plane) in second.err


def test_doctor(online: Tpctl, nightly: str, plane: Path) -> None:
    assert online("run", "start", nightly, "--wait").code == 0
    shown = online("doctor")
    assert shown.code == 0, shown.out
    assert "✓ server" in shown.out
    assert "✓ workers: 1 connected, 2 slots" in shown.out
    items = online("doctor", "-o", "json").row["items"]
    assert isinstance(items, list)
    assert all(isinstance(item, dict) and item["ok"] is not False for item in items)
    assert stat.S_IMODE((plane / "credentials.toml").stat().st_mode) == 0o600
