"""Decides what a command sees, what of it counts, and that nothing of it is left."""

import json
import os
import signal
from pathlib import Path

import msgspec
import pytest
import trio

from control.model import limits
from control.model.errors import JobFailed
from tests.workers.kind_runs import Runs
from workers.kinds.shell import Shell


@pytest.fixture
def shell(tmp_path: Path) -> Runs:
    return Runs(Shell(), tmp_path)  # type: ignore[arg-type]


async def test_output_and_log(shell: Runs) -> None:
    output = await shell(command="echo hello; echo '{\"a\": [1,\n2]}' > $TP_OUTPUT; echo err >&2")
    assert output == {"a": [1, 2]}
    assert shell.report.text == "hello\nerr\n"


async def test_no_output_is_null_and_no_shell_is_no_shell(shell: Runs) -> None:
    result = await shell.raw({"command": ["echo", "$HOME"]})
    assert (bytes(result.output), result.exit_code) == (b"null", 0)
    assert shell.report.text == "$HOME\n"


async def test_the_command_sees_its_input_its_ids_and_no_secret(
    shell: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TP_CLIENT_SECRET", "s3cret")
    command = (
        'cat "$TP_INPUT"; echo; echo $TP_RUN_ID $TP_JOB_ID $TP_JOB_NAME $TP_ATTEMPT $MINE; env'
    )
    await shell.raw({"command": command}, env={"MINE": "x y"}, job_input={"run": 1})
    document, ids, *_ = shell.report.text.splitlines()
    assert ids == "7 1 a-job 1 x y"
    known = json.loads(document)
    assert known.pop("run") == 1
    assert (known["this"]["job"], known["this"]["scheduled_for"]) == ("a-job", None)
    assert "s3cret" not in shell.report.text
    assert f"PATH={os.environ['PATH']}" in shell.report.text


async def test_the_operator_says_what_else_a_job_inherits(
    shell: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PIP_CERT", "PIP_X", "OTHER", "TP_CLIENT_SECRET"):
        monkeypatch.setenv(name, f"value of {name}")
    await shell(command="env")
    assert "value of" not in shell.report.text
    monkeypatch.setenv("TP_PASS_ENV", "PIP_*, TP_*")
    await shell(command="env")
    assert "PIP_CERT=value of" in shell.report.text
    assert "PIP_X=value of" in shell.report.text
    assert "OTHER" not in shell.report.text
    assert "value of TP_CLIENT_SECRET" not in shell.report.text


async def test_the_directory_is_empty_unless_one_is_named(shell: Runs, tmp_path: Path) -> None:
    await shell(command="ls -A; pwd")
    assert shell.report.text == f"{tmp_path}/1/work\n"
    shell.report.text = ""
    await shell(command="pwd", cwd="/")
    assert shell.report.text == "/\n"


@pytest.mark.parametrize("name", ["sh", "bash"])
async def test_the_first_command_that_fails_ends_a_script(shell: Runs, name: str) -> None:
    with pytest.raises(JobFailed, match="exit code 1"):
        await shell(command="echo before; false; echo after", shell=name)
    assert shell.report.text == "before\n"


async def test_a_script_for_bash(shell: Runs) -> None:
    await shell(command='words=(one "two three"); echo "${words[1]}"', shell="bash")
    assert shell.report.text == "two three\n"


async def test_a_shell_that_this_host_lacks(shell: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(JobFailed, match=r"could not be started: .*'bash'"):
        await shell(command="true", shell="bash")


async def test_a_list_needs_no_shell(shell: Runs) -> None:
    with pytest.raises(msgspec.ValidationError, match="shell: bash executes a text"):
        await shell(command=["true"], shell="bash")


async def test_stdin_is_empty(shell: Runs) -> None:
    await shell(command="cat; echo end")
    assert shell.report.text == "end\n"


@pytest.mark.parametrize(
    ("command", "words", "exit_code"),
    [
        ("exit 3", "exit code 3", 3),
        ("kill -9 $$", r"killed by signal 9 \(SIGKILL\)", 137),
        ("sh -c 'kill -11 $$'", "SIGSEGV", 139),
        ("echo '{' > $TP_OUTPUT", "TP_OUTPUT is not JSON", 0),
        ("mkfifo $TP_OUTPUT", "not a file", 0),
        ("echo 1 > other; ln -s $PWD/other $TP_OUTPUT", "cannot be read", 0),
        ("mkdir $TP_OUTPUT", "TP_OUTPUT", 0),
        (f"head -c {limits.OUTPUT_BYTES_MAX + 9} /dev/zero > $TP_OUTPUT", "more than", 0),
    ],
)
async def test_failures_in_words(shell: Runs, command: str, words: str, exit_code: int) -> None:
    with pytest.raises(JobFailed, match=words) as caught:
        await shell(command=command)
    assert caught.value.exit_code == exit_code


@pytest.mark.parametrize(
    "params",
    [
        {"command": ["no-such-program"]},
        {"command": "true", "cwd": "/no/such/folder"},
        {"command": ["a\0b"]},
    ],
)
async def test_what_cannot_start_says_so(shell: Runs, params: dict[str, object]) -> None:
    with pytest.raises(JobFailed, match="could not be started"):
        await shell(**params)


async def test_children_that_keep_the_pipe_open_do_not_keep_the_job(shell: Runs) -> None:
    with trio.fail_after(30):
        await shell(command="sleep 300 & echo $!; exec sleep 0")
    await gone(int(shell.report.text))


async def test_a_daemon_that_left_the_group_does_not_keep_the_job(
    shell: Runs, tmp_path: Path
) -> None:
    pid = tmp_path / "pid"
    script = f"setsid sh -c 'echo $$ > {pid}; while :; do echo noise; sleep 0.01; done' &"
    with trio.fail_after(30):
        await shell(command=f"{script} while ! [ -s {pid} ]; do sleep 0.01; done")
    os.kill(int(pid.read_text()), signal.SIGKILL)


async def test_a_stopped_command_may_clean_up_and_leaves_no_child(shell: Runs) -> None:
    # The child speaks for itself: before it is a program of its own, it would ignore SIGTERM.
    script = "trap 'echo bye; exit 0' TERM; sh -c 'echo $$; exec sleep 300' & wait"
    await stopped_after(shell, script, lines=1)
    child, last = shell.report.text.splitlines()
    assert last == "bye"
    await gone(int(child))


async def test_a_command_deaf_to_sigterm_is_killed(
    shell: Runs, autojump_clock: trio.testing.MockClock
) -> None:
    # The clock jumps to the kill as soon as nothing but the command is busy.
    await stopped_after(shell, "trap '' TERM; echo $$; while :; do sleep 0.1; done", lines=1)
    await gone(int(shell.report.text.splitlines()[0]))


async def stopped_after(shell: Runs, command: str, lines: int) -> None:
    """Run a command, and cancel it when it has said so much."""
    ready = trio.Event()
    write = shell.report.log

    async def log(text: str) -> None:
        await write(text)
        if shell.report.text.count("\n") >= lines:
            ready.set()

    shell.report.log = log  # type: ignore[method-assign]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(shell.raw, {"command": command})
        await ready.wait()
        nursery.cancel_scope.cancel()


async def gone(pid: int) -> None:
    """Wait until a process is dead (a zombie counts: whoever adopted it may be slow)."""
    stat = trio.Path(f"/proc/{pid}/stat")
    with trio.fail_after(30):
        while await stat.exists():
            try:
                if (await stat.read_text()).rpartition(")")[2].split()[0] in "ZX":
                    return
            except (FileNotFoundError, ProcessLookupError):
                return
            await trio.lowlevel.checkpoint()
