"""Decides that after a restore new runs count, what was lost does not, and numbers are right."""

import csv
import io
import json
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest

from bench.servers.system import System, start_control
from tests.cli.calling import TPCTL

pytestmark = pytest.mark.e2e

PIPELINE = {
    "name": "p",
    "stages": ["a", "b"],
    "jobs": [
        {"name": "one", "stage": "a", "kind": "Shell", "params": {"command": "echo ${{ run.n }}"}},
        {"name": "two", "stage": "b", "kind": "Sleep", "params": {"seconds": 0}},
    ],
}
FIRST_OF_SECOND_LIFE = 2_000_000_001


def tpctl(data: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [*TPCTL, "--data-dir", str(data), *words]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=600)


class Plane:
    """A client of a control plane that runs."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client

    def submit(self, count: int) -> list[int]:
        self.client.put("/v1/pipelines/p", json=PIPELINE).raise_for_status()
        runs = [{"pipeline": "p", "input": {"n": number}} for number in range(count)]
        made = self.client.post("/v1/runs:batch", json={"runs": runs}).raise_for_status().json()
        return [run["id"] for run in made["runs"]]

    def wait(self, runs: list[int]) -> None:
        """Until all of these have ended: their last jobs' logs do then."""
        for run in runs:
            jobs = self.client.get(f"/v1/runs/{run}/jobs").raise_for_status().json()["items"]
            url = f"/v1/jobs/{jobs[-1]['id']}/logs?follow=true"
            self.client.get(url).raise_for_status()

    def check(self, runs: list[int]) -> None:
        """These are all runs there are: each ended well, counts once, and has its own log."""
        shown = self.client.get("/v1/runs", params={"limit": 1_000}).json()["items"]
        assert sorted(run["id"] for run in shown) == runs
        assert {run["state"] for run in shown} == {"DONE"}
        jobs = []
        for run in shown:
            one, two = self.client.get(f"/v1/runs/{run['id']}/jobs").json()["items"]
            jobs += [one["id"], two["id"]]
            number = self.client.get(f"/v1/runs/{run['id']}").json()["input"]["n"]
            # Results and logs come by topics of their own: a follower waits for the last line.
            logs = f"/v1/jobs/{one['id']}/logs?follow=true"
            assert self.client.get(logs).text == f"{number}\n"
        facts = self._facts(len(jobs))
        final = sorted(int(row["job_id"]) for row in facts if row["final"] == "true")
        assert final == sorted(jobs)
        assert self.client.get("/v1/stats/summary?window=24h").json()["jobs"] == len(jobs)
        names = {check["check"]: check for check in self.client.get("/v1/doctor").json()["items"]}
        assert names["restored data"]["ok"]
        assert names["stored data"]["ok"]

    def _facts(self, jobs: int) -> list[dict[str, str]]:
        rows: list[dict[str, str]] = []
        while len({row["job_id"] for row in rows}) < jobs:  # They are written once a second.
            text = self.client.get("/v1/stats/export?format=csv").text
            rows = list(csv.DictReader(io.StringIO(text)))
        return rows


@contextmanager
def running(data: Path, *flags: str) -> Iterator[Plane]:
    with start_control(data, *flags):
        system = System(data, [])
        with httpx.Client(base_url=system.url, auth=system.auth, timeout=60) as client:
            yield Plane(client)


def copied(data: Path, target: Path) -> None:
    """What an operator without our command does."""
    with (
        closing(sqlite3.connect(data / "state.db")) as live,
        closing(sqlite3.connect(target)) as copy,
    ):
        live.backup(copy)


@pytest.mark.parametrize("by", ["command", "copy"])
def test_a_backup_of_a_running_system_is_restored(tmp_path: Path, by: str) -> None:
    data, backup = tmp_path / "data", tmp_path / "backup"
    with running(data, "--workers", "2") as plane:
        known = plane.submit(40)
        plane.wait(known[:10])
        if by == "command":
            made = tpctl(data, "backup", "--to", str(backup))
            assert made.returncode == 0, made.stderr
            assert backup.stat().st_mode & 0o777 == 0o600
        else:
            copied(data, backup)
        lost = plane.submit(20)
        plane.wait(known + lost)
    if by == "command":
        restored = tpctl(data, "restore", str(backup), "--yes")
        assert restored.returncode == 0, restored.stderr
        assert "before-restore" in restored.stderr
    else:
        for name in ("state.db-wal", "state.db-shm"):
            (data / name).unlink(missing_ok=True)
        shutil.copyfile(backup, data / "state.db")
    with running(data, "--workers", "2") as plane:
        plane.wait(known)
        assert plane.client.get(f"/v1/runs/{lost[0]}").status_code == 404
        fresh = plane.submit(5)
        assert fresh[0] == FIRST_OF_SECOND_LIFE
        plane.wait(fresh)
        plane.check(known + fresh)
    with running(data) as plane:  # A start that follows no restore begins no other life.
        assert plane.submit(1) == [FIRST_OF_SECOND_LIFE + 5]


def test_a_backup_that_is_not_whole_is_refused_and_nothing_is_moved(tmp_path: Path) -> None:
    data, backup = tmp_path / "data", tmp_path / "backup.tar.gz"
    with running(data) as plane:
        plane.submit(1)
        in_use = tpctl(data, "restore", str(tmp_path / "none"), "--yes")
        assert (in_use.returncode, "another control plane" in in_use.stderr) == (2, True)
    assert tpctl(data, "backup", "--to", str(backup)).returncode == 0  # Of a stopped one, too.
    again = tpctl(data, "backup", "--to", str(backup))
    assert (again.returncode, "exists" in again.stderr) == (2, True)
    whole, before = backup.read_bytes(), (data / "state.db").read_bytes()
    for broken in (whole[: len(whole) // 2], whole[:-200], whole[:99] + b"x" + whole[100:], b""):
        backup.write_bytes(broken)
        for words in (["--check"], ["--yes"]):
            refused = tpctl(data, "restore", str(backup), *words)
            assert refused.returncode == 2, refused.stderr
            assert "no whole backup" in refused.stderr
    assert (data / "state.db").read_bytes() == before
    backup.write_bytes(whole)
    assert "is whole" in tpctl(data, "restore", str(backup), "--check").stderr
    unasked = tpctl(data, "restore", str(backup))
    assert (unasked.returncode, "--yes" in unasked.stderr) == (2, True)
    (data / "restoring").touch()
    refused = tpctl(data, "up")
    assert (refused.returncode, "was interrupted" in refused.stderr) == (2, True)
    assert tpctl(data, "restore", str(backup), "--yes").returncode == 0
    assert not (data / "restoring").exists()


def test_a_rotated_admin_stays_rotated(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running(data):
        shown = tpctl(data, "client", "rotate", "admin", "-o", "json")
        secret = json.loads(shown.stdout)["client_secret"]
        assert tpctl(data, "client", "list").returncode == 0  # By what is in the file now.
    with running(data) as plane:
        answer = plane.client.get("/v1/clients", auth=("admin", secret))
        assert answer.status_code == 200
    stale = (data / "credentials.toml").read_text().replace(secret, "x" * 40)
    (data / "credentials.toml").write_text(stale)
    with running(data) as plane:  # Whose secret was rotated elsewhere is not rotated once more.
        assert plane.client.get("/v1/clients").status_code == 401
        answer = plane.client.get("/v1/clients", auth=("admin", secret))
        assert answer.status_code == 200
