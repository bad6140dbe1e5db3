"""Decides what a container sees, what of it counts, and that nothing of it is left."""

import json
import os
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import pytest
import trio

from bench.servers.containers import IMAGE, Podman
from control.model import limits
from control.model.errors import ConfigError, JobFailed
from control.model.worker.settings import ContainerTable, WorkerSettings
from tests.workers.kind_runs import Runs
from workers.kinds.container import Container, _check
from workers.kinds.container_engine import EngineState

pytestmark = pytest.mark.e2e

STAYS = "trap 'echo bye; exit 0' TERM; echo here; while :; do sleep 0.05; done"


@pytest.fixture(autouse=True)
def _nothing_is_left(podman: Podman) -> Iterator[None]:
    yield
    assert podman.containers() == []


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """What the operator lets containers mount."""
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "file").write_text("content\n")
    (tmp_path / "fixed").mkdir()
    return tmp_path / "shared"


def settings(podman: Podman, *more: str, **changed: object) -> WorkerSettings:
    table = {"engine": "podman", "arguments": (*podman.arguments, *more), **changed}
    return WorkerSettings(container=ContainerTable(**table))  # type: ignore[arg-type]


@pytest.fixture
async def container(podman: Podman, tmp_path: Path, shared: Path) -> AsyncIterator[Runs]:
    (tmp_path / "jobs").mkdir()
    kind = Container()
    kind.configure(settings(podman, mounts=(str(shared), f"{tmp_path}/fixed:ro")))
    await kind.begin(tmp_path)
    yield Runs(kind, tmp_path / "jobs")  # type: ignore[arg-type]
    await kind.aclose()
    assert not (tmp_path / "containers.json").exists()


async def run(container: Runs, command: object, **params: object) -> object:
    return await container(image=IMAGE, command=command, **params)


async def test_output_and_log(container: Runs) -> None:
    output = await run(container, "echo hello; echo '{\"a\": [1]}' > $TP_OUTPUT; echo err >&2")
    assert output == {"a": [1]}
    assert container.report.text == "hello\nerr\n"


async def test_a_list_is_a_program_and_its_arguments(container: Runs) -> None:
    assert await run(container, ["echo", "$HOME", "; false"]) is None
    assert container.report.text == "$HOME ; false\n"


async def test_the_container_sees_its_input_its_ids_and_no_variable_of_the_worker(
    container: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TP_CLIENT_SECRET", "s3cret")
    monkeypatch.setenv("https_proxy", "http://user:s3cret@127.0.0.1:1")
    command = (
        'cat "$TP_INPUT"; echo; echo $TP_RUN_ID $TP_JOB_ID $TP_JOB_NAME $TP_ATTEMPT $MINE; env'
    )
    params = {"image": IMAGE, "command": command}
    await container.raw(params, env={"MINE": "x y"}, job_input={"run": 1})
    document, ids, *_ = container.report.text.splitlines()
    assert ids == "7 1 a-job 1 x y"
    assert json.loads(document)["this"]["job"] == "a-job"
    assert "s3cret" not in container.report.text


async def test_values_of_any_text_arrive_as_they_are(container: Runs) -> None:
    hostile = {
        "TP_VALUE_A": "$(touch /x) `id` \"'\\ #\n=y\r\n",
        "LINES": "one\ntwo",
        "HASH": "#no comment",
        "QUOTED": '"quoted"',
        "EMPTY": "",
        "LONG": "x" * 100_000,
        "PATH_LIKE": " leading and trailing ",
    }
    names = " ".join(hostile)
    command = f'for name in {names}; do eval "printf \'%s|\' \\"\\$$name\\""; done'
    await container.raw({"image": IMAGE, "command": command}, env=hostile)
    assert container.report.text == "".join(f"{value}|" for value in hostile.values())


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"LD_PRELOAD": "a\nb"}, "would change how the engine works"),
        ({"DOCKER_HOST": "x" * 70_000}, "would change how the engine works"),
        ({"A": "b\0c"}, "NUL character"),
    ],
)
async def test_variables_that_no_engine_can_pass(
    container: Runs, env: dict[str, str], words: str
) -> None:
    with pytest.raises(JobFailed, match=words) as caught:
        await container.raw({"image": IMAGE, "command": "true"}, env=env)
    assert caught.value.final


async def test_variables_that_engines_themselves_know_are_for_the_container(
    container: Runs,
) -> None:
    env = {"DOCKER_HOST": "tcp://nowhere", "CONTAINERS_CONF": "/none", "HOME": "/tmp"}
    await container.raw({"image": IMAGE, "command": "echo $DOCKER_HOST $HOME"}, env=env)
    assert container.report.text == "tcp://nowhere /tmp\n"


@pytest.mark.parametrize(
    ("command", "words", "exit_code"),
    [
        ("exit 3", r"the container ended with exit code 3$", 3),
        ("false; exit 0", "exit code 1", 1),
        ("exit 137", r"exit code 137 \(as after signal 9 \(SIGKILL\)\): .*memory ran out", 137),
        ("echo '{' > $TP_OUTPUT", "TP_OUTPUT is not JSON", 0),
        (f"yes | head -c {limits.OUTPUT_BYTES_MAX + 9} > $TP_OUTPUT", "more than", 0),
        (["/no/such/program"], "could not be started: .*/no/such/program", None),
    ],
)
async def test_failures_in_words(
    container: Runs, command: object, words: str, exit_code: int | None
) -> None:
    with pytest.raises(JobFailed, match=words) as caught:
        await run(container, command)
    assert caught.value.exit_code == exit_code


def test_an_end_for_want_of_memory() -> None:
    """What an engine says then; where tests run there are no limits that would cause it."""
    with pytest.raises(JobFailed, match=r"exit code 137 .*: its memory ran out") as caught:
        _check(EngineState(status="exited", exit_code=137, oom_killed=True))
    assert caught.value.exit_code == 137
    _check(EngineState(status="exited", exit_code=0, oom_killed=True))  # A child's memory.


async def test_its_labels_say_whose_it_is(container: Runs, podman: Podman) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, container, STAYS)
        await said(container, "here\n")
        for label in ("run=7", "job=1", "attempt=1", "installation="):
            assert len(podman.containers(f"--filter=label=taskplane.{label}")) == 1
        assert podman.containers("--filter=label=taskplane.run=8") == []
        nursery.cancel_scope.cancel()


async def test_a_container_that_another_program_kills(container: Runs, podman: Podman) -> None:
    async with trio.open_nursery() as nursery:
        ended = trio.Event()

        async def fail() -> None:
            with pytest.raises(JobFailed, match="exit code 137"):
                await run(container, "echo here; while :; do sleep 1; done")
            ended.set()

        nursery.start_soon(fail)
        await said(container, "here\n")
        (name,) = podman.containers()
        podman.kill(name)
        with trio.fail_after(60):
            await ended.wait()


@pytest.mark.parametrize(
    ("image", "pull", "words"),
    [
        (
            "localhost/none:1",
            "never",
            r"does not have the image localhost/none:1, and may not fetch",
        ),
        ("127.0.0.1:1/none:1", "missing", "the image 127.0.0.1:1/none:1 could not be fetched: .*"),
    ],
)
async def test_an_image_that_is_not_there(
    container: Runs, image: str, pull: str, words: str
) -> None:
    with pytest.raises(JobFailed, match=words):
        await container(image=image, command="true", pull=pull)


async def test_the_worker_decides_what_is_fetched(container: Runs, podman: Podman) -> None:
    container.kind.configure(settings(podman, pull="never"))
    with pytest.raises(JobFailed, match="may not fetch it"):
        await container(image="127.0.0.1:1/none:1", command="true", pull="always")


async def test_mounts_that_the_worker_allows(container: Runs, shared: Path) -> None:
    mounts = [f"{shared}:/data", f"{shared}/file:/one:ro"]
    await run(container, "cat /data/file /one; echo new > /data/new", mounts=mounts)
    assert container.report.text == "content\ncontent\n"
    assert (shared / "new").read_text() == "new\n"
    with pytest.raises(JobFailed, match="exit code 1"):
        await run(container, "echo x > /data/file", mounts=[f"{shared}:/data:ro"])


@pytest.mark.parametrize(
    ("mount", "words"),
    [
        ("/etc:/data", "/etc may not be mounted: .* allows .*/shared, .*/fixed"),
        ("SHARED/../jobs:/data", "may not be mounted"),
        ("SHARED/link:/data", "which is /etc, may not be mounted"),
        ("SHARED/none:/data", "cannot be mounted: No such file"),
        ("SHARED:/taskplane/more", "nothing can be mounted at /taskplane/more"),
        ("SHARED:/", "nothing can be mounted at /;"),
        ("FIXED:/data", "may only be mounted read-only: write .*:ro"),
    ],
)
async def test_mounts_that_it_does_not(
    container: Runs, shared: Path, mount: str, words: str
) -> None:
    (shared / "link").symlink_to("/etc")
    fixed = str(shared.parent / "fixed")
    written = mount.replace("SHARED", str(shared)).replace("FIXED", fixed)
    with pytest.raises(JobFailed, match=words.replace("SHARED", str(shared))):
        await run(container, "true", mounts=[written])


async def test_without_a_config_nothing_can_be_mounted(
    container: Runs, podman: Podman, shared: Path
) -> None:
    container.kind.configure(settings(podman))
    with pytest.raises(JobFailed, match="allows nothing"):
        await run(container, "true", mounts=[f"{shared}:/data"])


@pytest.mark.parametrize("written", ["data", "./data", "/a:/b", "/a:rw"])
def test_a_config_with_mounts_that_are_none(podman: Podman, written: str) -> None:
    with pytest.raises(ConfigError, match=r"container\.mounts: .* is no absolute path"):
        Container().configure(settings(podman, mounts=(written,)))


def test_a_config_with_arguments_of_no_engine(podman: Podman) -> None:
    with pytest.raises(ConfigError, match=r"say of which engine, with container\.engine"):
        Container().configure(settings(podman, engine=None))


async def test_another_directory_and_another_user(container: Runs, podman: Podman) -> None:
    container.kind.configure(settings(podman, "--user=65534:65534"))
    command = "pwd; id -u; cat $TP_INPUT > $TP_OUTPUT; echo 0.5 > $TP_PROGRESS"
    params = {"image": IMAGE, "command": command, "workdir": "/tmp"}
    result = await container.raw(params, job_input={"run": 3})
    assert json.loads(bytes(result.output))["run"] == 3
    assert container.report.text == "/tmp\n65534\n"
    assert container.report.fractions == [0.5]


async def test_progress(container: Runs) -> None:
    await run(container, "echo 0.25 > $TP_PROGRESS")
    assert container.report.fractions == [0.25]


async def test_what_a_container_does_to_its_files_stays_inside(
    container: Runs, tmp_path: Path
) -> None:
    hostile = (
        "rm -f $TP_OUTPUT; ln -s /etc/passwd $TP_OUTPUT; mkdir -p /taskplane/more; ls /taskplane"
    )
    with pytest.raises(JobFailed, match="exit code 1"):
        await run(container, hostile)
    assert sorted(os.listdir(tmp_path / "jobs" / "1")) == [
        *("env", "input.json", "output.json", "progress"),
    ]


async def test_a_worker_without_an_engine(container: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(JobFailed, match="runs containers with podman, not with docker"):
        await run(container, "true", engine="docker")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(JobFailed, match="no container engine: podman is not on its PATH"):
        await run(container, "true")
    container.kind.configure(WorkerSettings())
    with pytest.raises(JobFailed, match="neither podman nor docker is on its PATH"):
        await run(container, "true")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            "docker: Cannot connect to the Docker daemon at unix:///var/run/docker.sock. "
            "Is the docker daemon running?",
            "docker does not answer; an operator has to start it",
        ),
        (
            "permission denied while trying to connect to the Docker daemon socket at unix:///x",
            "the worker's user may not use docker",
        ),
        (
            "Error response from daemon: pull access denied for a/b, repository does not exist or "
            "may require 'docker login': denied: requested access to the resource is denied",
            "the registry does not let this worker have the image a/b",
        ),
        (
            "Error response from daemon: manifest for a/b:1 not found: manifest unknown",
            "the registry has no image a/b",
        ),
        ("Error response from daemon: \x1b[31mconflict", "could not be created: .x1b.31mconflict"),
    ],
)
async def test_what_docker_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, words: str
) -> None:
    """A program that says what docker says, where there is no daemon to say it."""
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    (tmp_path / "line").write_text(f"{line}\nSee 'docker create --help'.\n")
    program.write_text(f"#!/bin/sh\ncat {tmp_path}/line >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    kind = Container()
    kind.configure(WorkerSettings(container=ContainerTable(engine="docker")))
    with pytest.raises(JobFailed, match=words):
        await Runs(kind, tmp_path)(image="a/b", command="true")  # type: ignore[arg-type]
    await kind.aclose()


async def test_a_stopped_container_may_clean_up(container: Runs, podman: Podman) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, container, STAYS)
        await said(container, "here\n")
        assert len(podman.containers()) == 1
        nursery.cancel_scope.cancel()
    assert container.report.text == "here\nbye\n"


async def test_one_that_was_stopped_before_it_ran(container: Runs) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await run(container, STAYS)
    assert scope.cancelled_caught


async def test_containers_beside_each_other(container: Runs) -> None:
    async with trio.open_nursery() as nursery:
        for number in range(2):
            nursery.start_soon(partial(run, container, f"echo {number}"))
    assert sorted(container.report.text) == ["\n", "\n", "0", "1"]


async def said(container: Runs, text: str) -> None:
    """Wait until the log has a text."""
    with trio.fail_after(60):
        while text not in container.report.text:
            await trio.lowlevel.checkpoint()
