"""Decides what a call costs when it goes wrong, and what calls share."""

import ast
import importlib.util
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import trio

from control.model.errors import JobFailed
from control.model.this import Subject
from tests.workers.kind_runs import Runs
from workers.isolation import landlock
from workers.isolation.hidden import HiddenPaths
from workers.isolation.launcher import GuardedLauncher, IsolatingLauncher, can_cover
from workers.kinds import python_child
from workers.kinds.python import Python

MODULE = r"""
import _thread, ctypes, math, os, signal, subprocess, sys, threading, time
COUNT = 0
def add(a, b=1): return {"sum": a + b}
def pid():
    global COUNT
    COUNT += 1
    return [os.getpid(), COUNT]
def env(name): return os.environ.get(name)
def talk():
    print("out")
    print("err", file=sys.stderr)
    sys.stdout.write("no newline")
def fail(): raise ValueError("bad day")
def segfault(): ctypes.string_at(0)
def leave(): sys.exit(3)
def thing(): return object()
def nan(): return math.nan
def shout(): raise ValueError("x" * 5_000_000)
def huge(): return "x" * 2_000_000
def files():
    open("mine", "w").close()
    return os.listdir()
def read(path): return open(path).read()
def hang():
    print("hanging", flush=True)
    time.sleep(300)
def forks():
    if os.fork() == 0:
        time.sleep(300)
    os._exit(9)
def leave_thread():
    threading.Thread(target=time.sleep, args=(300,), daemon=True).start()
    return os.getpid()
def leave_raw_thread():
    begun = threading.Event()
    _thread.start_new_thread(lambda: begun.set() or time.sleep(300), ())
    begun.wait()
    return os.getpid()
def leave_process():
    subprocess.Popen(["sleep", "300"])
    return os.getpid()
def leave_daemon():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(300)
        os._exit(0)
    os.wait()
    return os.getpid()
def leave_variable():
    os.environ["LEFT"] = "x"
    return os.getpid()
def leave_umask():
    os.umask(0o777)
    return os.getpid()
def leave_alarm():
    signal.alarm(300)
    return os.getpid()
def leave_handler():
    signal.signal(signal.SIGUSR1, lambda *_: None)
    return os.getpid()
def leave_stdout():
    sys.stdout = open(os.devnull, "w")
    return os.getpid()
def leave_and_fail():
    leave_thread()
    raise ValueError(os.getpid())
def own_thread():
    thread = threading.Thread(target=time.sleep, args=(0,))
    thread.start()
    thread.join()
    subprocess.run(["true"], check=True)
    os.environ["LEFT"] = "x"
    del os.environ["LEFT"]
    return os.getpid()
def half(): return ["fine", "\ud83d"]
def half_key(): return {"\udc80": 1}
def raise_half(): raise ValueError("no \ud83d")
def unicode(): return "\u00e9\u2028\U0001f600"
class Deep:
    @staticmethod
    def er(): return "deep"
"""


@pytest.fixture
async def python(tmp_path: Path) -> AsyncIterator[Runs]:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "mod.py").write_text(MODULE)
    runs = Runs(Python(), tmp_path)  # type: ignore[arg-type]
    yield runs
    await runs.kind.aclose()


async def call(python: Runs, function: str, **more: object) -> object:
    return await python(call=f"mod:{function}", path=str(python.directory / "code"), **more)


async def test_what_the_function_returns_is_the_output(python: Runs) -> None:
    assert await call(python, "add", args=[2], kwargs={"b": 40}) == {"sum": 42}
    assert await call(python, "Deep.er") == "deep"
    assert await python(call="math:sqrt", args=[9], python=sys.executable) == 3.0


async def test_a_child_is_kept_for_the_next_call(python: Runs) -> None:
    first, second = await call(python, "pid"), await call(python, "pid")
    assert isinstance(first, list)
    assert second == [first[0], 2]


async def test_another_environment_is_another_child(python: Runs) -> None:
    params = {"call": "mod:env", "args": ["MINE"], "path": str(python.directory / "code")}
    assert bytes((await python.raw(params, env={"MINE": "1"})).output) == b'"1"'
    assert bytes((await python.raw(params)).output) == b"null"
    assert await call(python, "env", args=["TP_JOB_NAME"]) == "a-job"
    assert await call(python, "env", args=["TP_CLIENT_SECRET"]) is None


async def test_a_call_has_nothing_of_the_run_of_another(python: Runs) -> None:
    code = str(python.directory / "code")
    params = {"call": "mod:env", "args": ["TP_SCHEDULED_FOR"], "path": code}
    scheduled = await python.raw(params, subject=Subject(scheduled_ms=0))
    assert msgspec.json.decode(scheduled.output) == "1970-01-01T00:00:00.000Z"
    assert msgspec.json.decode((await python.raw(params)).output) is None


async def test_another_client_is_another_child(python: Runs) -> None:
    params = {"call": "mod:pid", "path": str(python.directory / "code")}
    (ann, again, ben) = [
        msgspec.json.decode((await python.raw(params, client=client)).output)
        for client in ("ann", "ann", "ben")
    ]
    assert again == [ann[0], 2]
    assert ben[0] != ann[0]


async def test_a_child_may_use_its_own_directory_only(tmp_path: Path) -> None:
    if landlock.abi() < landlock.ABI_MIN:
        pytest.skip("this kernel lacks Landlock")
    state, code = tmp_path / "state", tmp_path / "code"
    for folder in (state, code):
        folder.mkdir()
    (state / "secret").write_text("s3cret")
    (code / "mod.py").write_text(MODULE)
    hidden = HiddenPaths([state])
    launcher = IsolatingLauncher(hidden, abi=landlock.abi(), covers=can_cover())
    runs = Runs(Python(), state, launcher)  # type: ignore[arg-type]
    for _ in range(2):  # The second one in the same child, with a directory of its own.
        assert await runs(call="mod:files", path=str(code)) == ["mine"]
    with pytest.raises(JobFailed, match=r"PermissionError|FileNotFoundError"):
        await runs(call="mod:read", args=[f"{state}/secret"], path=str(code))
    await runs.kind.aclose()
    launcher.close()
    hidden.close()


async def test_output_of_the_users_code_is_its_log(python: Runs) -> None:
    assert await call(python, "talk") is None
    assert sorted(python.report.text.split("\n")) == ["err", "no newline", "out"]


async def test_an_exception_is_an_error_with_its_traceback_in_the_log(python: Runs) -> None:
    with pytest.raises(JobFailed, match=r"^ValueError: bad day$"):
        await call(python, "fail")
    assert 'mod.py", line' in python.report.text
    assert "python_child" not in python.report.text


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("segfault", "SIGSEGV"),
        ("leave", "exit code 3"),
        ("forks", "exit code 9"),
        ("thing", "not JSON"),
        ("nan", "not JSON"),
        ("huge", "bytes"),
        ("shout", "over .* bytes"),
        ("nothing", "has no 'nothing'"),
        ("COUNT", "cannot be called"),
    ],
)
async def test_what_goes_wrong_costs_one_attempt(python: Runs, function: str, words: str) -> None:
    with trio.fail_after(60), pytest.raises(JobFailed, match=words):
        await call(python, function)
    assert await call(python, "add", args=[1]) == {"sum": 2}


async def test_a_module_that_is_not_there(python: Runs) -> None:
    with pytest.raises(JobFailed, match="ModuleNotFoundError"):
        await python(call="no_such_module:f")
    with pytest.raises(JobFailed, match="could not be started"):
        await python(call="math:sqrt", python="/no/such/python")


async def test_the_workers_own_files_are_not_importable_by_name(python: Runs) -> None:
    assert await python(call="http:HTTPStatus", args=[200]) == 200  # Not workers/kinds/http.py.


async def test_files_land_in_the_jobs_own_directory(python: Runs) -> None:
    assert await call(python, "files") == ["mine"]
    assert await call(python, "files") == ["mine"]


async def test_a_changed_module_is_loaded_again(python: Runs) -> None:
    assert await call(python, "add", args=[1]) == {"sum": 2}
    source = python.directory / "code" / "mod.py"
    source.write_text(MODULE.replace("a + b", "a - b + 1000"))
    assert await call(python, "add", args=[1]) == {"sum": 1000}


async def test_a_stopped_call_kills_its_child(python: Runs) -> None:
    before = await call(python, "pid")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(call, python, "hang")
        with trio.fail_after(60):
            while "hanging" not in python.report.text:
                await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    after = await call(python, "pid")
    assert isinstance(before, list)
    assert isinstance(after, list)
    assert before[0] != after[0]
    assert not await trio.Path(f"/proc/{before[0]}").exists()


async def test_calls_at_the_same_time_have_a_child_each(python: Runs) -> None:
    pids: list[object] = []

    async def one() -> None:
        pids.append(await call(python, "pid"))

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(one)
    assert len({str(pid) for pid in pids}) == 3


def test_the_child_is_python_3_8_and_needs_nothing() -> None:
    assert importlib.util.find_spec(python_child.__name__) is not None
    tree = ast.parse(Path(str(python_child.__file__)).read_text(), feature_version=(3, 8))
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [str(node.module)]
        )
    }
    assert imported <= set(sys.stdlib_module_names)


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Runs]:
    """As `python`, with the launcher that a worker has."""
    if sys.platform != "linux":
        pytest.skip("guards need Linux")
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "mod.py").write_text(MODULE)
    launcher = GuardedLauncher()
    runs = Runs(Python(), tmp_path, launcher)  # type: ignore[arg-type]
    yield runs
    await runs.kind.aclose()
    launcher.close()


LEAVING = [line[4:-3] for line in MODULE.splitlines() if line.startswith("def leave_")]


@pytest.mark.parametrize("function", sorted({*LEAVING} - {"leave_and_fail"}))
async def test_a_child_in_which_something_stays_is_not_used_again(
    guarded: Runs, function: str
) -> None:
    left = await call(guarded, function)
    after = await call(guarded, "pid")
    assert isinstance(after, list)
    assert after[0] != left
    assert not await trio.Path(f"/proc/{left}").exists()
    assert await call(guarded, "env", args=["LEFT"]) is None


async def test_a_call_that_fails_leaves_nothing_either(guarded: Runs) -> None:
    with pytest.raises(JobFailed, match="ValueError: ") as caught:
        await call(guarded, "leave_and_fail")
    after = await call(guarded, "pid")
    assert isinstance(after, list)
    assert str(after[0]) not in str(caught.value)


async def test_a_call_that_cleans_up_leaves_its_child_for_others(guarded: Runs) -> None:
    first = await call(guarded, "own_thread")
    after = await call(guarded, "pid")
    assert isinstance(after, list)
    assert after[0] == first


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("half", r"half of a surrogate pair: .*\\ud83d"),
        ("half_key", r"half of a surrogate pair: .*\\udc80"),
        ("raise_half", r"^ValueError: no \\ud83d$"),
    ],
)
async def test_half_a_character_is_an_error_in_words(
    python: Runs, function: str, words: str
) -> None:
    with pytest.raises(JobFailed, match=words):
        await call(python, function)
    assert await call(python, "unicode") == "\u00e9\u2028\U0001f600"
