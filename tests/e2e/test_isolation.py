"""Decides that a submitter's job gets nothing of the system that runs it, as it is installed."""

import json
import os
import pwd
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from bench.servers.system import System, start_control
from tests.cli.calling import TPCTL
from workers.isolation import landlock

pytestmark = pytest.mark.e2e

INTRUDER = Path(__file__).parent.parent / "workers" / "intruder.py"
needs_landlock = pytest.mark.skipif(
    landlock.abi() < landlock.ABI_SCOPES, reason="this kernel lacks Landlock, or its scopes"
)


class Plane:
    """A control plane with a local worker, and the clients that talk to it."""

    def __init__(self, directory: Path, state: Path, pid: int) -> None:
        self.directory = directory
        self.state = state
        self.pid = pid
        self.system = System(directory, [pid])
        self.admin = httpx.Client(base_url=self.system.url, auth=self.system.auth, timeout=60)
        made = self.admin.post("/v1/clients", json={"client_id": "ann", "role": "submitter"})
        auth = ("ann", made.json()["client_secret"])
        self.submitter = httpx.Client(base_url=self.system.url, auth=auth, timeout=60)

    def submit(self, command: str) -> int:
        """Start a Shell job as a submitter; gives its id, which is its run's too."""
        job = {"name": "j", "stage": "a", "kind": "Shell", "params": {"command": command}}
        body = {"pipeline": {"name": "p", "stages": ["a"], "jobs": [job]}}
        run = self.submitter.post("/v1/runs", json=body).raise_for_status().json()
        (found,) = self.submitter.get(f"/v1/runs/{run['id']}/jobs").json()["items"]
        number: int = found["id"]
        return number

    def log(self, job: int) -> str:
        """All of a job's log, once it has ended."""
        return self.submitter.get(f"/v1/jobs/{job}/logs", params={"follow": True}).text

    def first_line(self, job: int) -> str:
        """What a running job says first."""
        with self.submitter.stream("GET", f"/v1/jobs/{job}/logs?follow=true") as answer:
            return next(answer.iter_lines())

    def workers(self) -> list[dict[str, object]]:
        """The workers, as the API shows them."""
        found: list[dict[str, object]] = self.admin.get("/v1/workers").json()["items"]
        return found

    def worker_pid(self) -> int:
        """The local worker's process."""
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # It may have ended just now.
                status = (folder / "stat").read_text("utf-8").rpartition(")")[2].split()
                if int(status[1]) == self.pid and "workers" in (folder / "cmdline").read_text():
                    return int(folder.name)
        raise LookupError


@contextmanager
def running(root: Path, *flags: str) -> Iterator[Plane]:
    data, state = root / "share" / "data", root / "state"
    old = os.umask(0)  # Whatever the operator's is.
    try:
        environ = {"XDG_STATE_HOME": str(state), "TP_CLIENT_SECRET": "0perat0r"}
        with start_control(data, "--workers", "4", *flags, environ=environ) as process:
            plane = Plane(data, state, process.pid)
            with closing(plane.admin), closing(plane.submitter):
                yield plane
    finally:
        os.umask(old)


@needs_landlock
def test_a_submitters_job_gets_nothing(tmp_path: Path) -> None:
    with running(tmp_path) as plane:
        victim = plane.submit("pwd; echo s3cret > secret; exec sleep 300")
        other = plane.first_line(victim)
        worker = plane.worker_pid()
        (results,) = plane.state.glob("taskplane/workers/*/local/results.jsonl")
        names = ("credentials.toml", "state.db", "state.db-wal", "facts.duckdb", "lock", "member")
        files = [str(plane.directory / name) for name in names]
        targets = {
            "files": [*files, str(results), f"{other}/secret"],
            "directories": [str(plane.directory), str(plane.directory / "logs"), other],
            "processes": [worker, plane.pid, 1],
            "sockets": [],
        }
        (tmp_path / "targets.json").write_text(json.dumps(targets))
        job = plane.submit(f"'{sys.executable}' {INTRUDER} {tmp_path}/targets.json > $TP_OUTPUT")
        log = plane.log(job)
        found = plane.submitter.get(f"/v1/jobs/{job}").json()
        assert found["state"] == "DONE", log
        results_of = found["output"]
        assert len(results_of) > 100
        got = {what: how for what, how in results_of.items() if not how.startswith("refused")}
        assert got == {}
        # Those who were attacked are still there.
        assert plane.submitter.get(f"/v1/jobs/{victim}").json()["state"] == "IN_PROGRESS"
        assert [each["state"] for each in plane.workers()] == ["connected"]
        assert not other.startswith(str(plane.directory))


@needs_landlock
def test_the_first_things_to_try(tmp_path: Path) -> None:
    with running(tmp_path) as plane:
        for command in (
            f"cat {plane.directory}/credentials.toml",
            "cat ../../../../../credentials.toml",
            "tr '\\0' '\\n' < /proc/$PPID/environ",
            "kill -9 $PPID",
        ):
            job = plane.submit(command)
            log = plane.log(job)
            assert plane.submitter.get(f"/v1/jobs/{job}").json()["state"] == "ERROR", command
            for secret in ("client_secret", "0perat0r", plane.system.auth[1]):
                assert secret not in log


def test_the_local_worker_is_a_client_of_its_own(tmp_path: Path) -> None:
    with running(tmp_path) as plane:
        plane.first_line(plane.submit("echo begun"))  # So it is connected.
        clients = {
            each["client_id"]: each for each in plane.admin.get("/v1/clients").json()["items"]
        }
        assert clients["local-worker"]["role"] == "worker"
        folder = Path("/proc") / str(plane.worker_pid())
        if os.geteuid() == 0:  # Even for its own user there is nothing to see.
            assert b"0perat0r" not in (folder / "environ").read_bytes()
            for process in (plane.worker_pid(), plane.pid):
                limits = Path(f"/proc/{process}/limits").read_text("utf-8")
                assert re.search("Max core file size +0 ", limits)
        assert plane.system.auth[1] not in (folder / "cmdline").read_text()
        # What cannot be dumped belongs to root, whoever runs it.
        assert (folder / "environ").stat().st_uid == 0
        (worker,) = plane.workers()
        isolation = worker["isolation"]
        assert isinstance(isolation, dict)
        assert "network" in isolation["open"][0]
        doctor = subprocess.run(
            [*TPCTL, "--data-dir", str(plane.directory), "doctor"],
            check=True,
            capture_output=True,
            text=True,
        )
        assert "isolation of local: " in doctor.stdout


def test_everything_in_the_data_directory_is_its_owners(tmp_path: Path) -> None:
    with running(tmp_path) as plane:
        plane.log(plane.submit("echo hello"))
        plane.admin.get("/v1/stats/export", params={"format": "csv"})
        modes = {
            str(path.relative_to(plane.directory)): oct(path.stat().st_mode & 0o777)
            for path in [plane.directory, *plane.directory.rglob("*")]
            if path.stat().st_mode & 0o077
        }
    assert modes == {}


def test_the_state_of_a_local_worker_that_has_nothing_to_keep_goes_away(tmp_path: Path) -> None:
    with running(tmp_path) as plane:
        plane.log(plane.submit("touch left-behind"))
    assert not list((tmp_path / "state").rglob("*local*"))


@pytest.mark.parametrize(
    ("user", "words"),
    [("root", "name a user with fewer rights"), ("no-such-user", "no such user")],
)
def test_a_user_that_does_not_do_is_refused_in_words(tmp_path: Path, user: str, words: str) -> None:
    if os.geteuid() != 0:
        words = "only root can"
    called = subprocess.run(
        [*TPCTL, "up", "--data-dir", str(tmp_path / "d"), "--workers", "1", "--worker-user", user],
        check=False,
        capture_output=True,
        text=True,
    )
    assert called.returncode == 2
    assert words in called.stderr
    assert not (tmp_path / "d").exists()


def test_another_user_runs_the_jobs(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can start a worker as another user")
    user = pwd.getpwnam("nobody")
    look = ["sh", "-c", f"'{sys.executable}' -c 'import workers.app'"]
    if subprocess.run(look, user=user.pw_uid, group=user.pw_gid, cwd="/", check=False).returncode:
        pytest.skip("no other user may execute this Python")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        root.chmod(0o755)
        with running(root, "--worker-user", user.pw_name) as plane:
            job = plane.submit(
                f"id -un; cat {plane.directory}/credentials.toml; ls {plane.directory}"
            )
            log = plane.log(job)
            assert log.startswith("nobody\n")
            assert "client_secret" not in log
            assert plane.submitter.get(f"/v1/jobs/{job}").json()["state"] == "ERROR"
            (worker,) = plane.workers()
            assert "root" not in str(worker["isolation"])
