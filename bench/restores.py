"""Restores backups of a system under load, round after round, and checks that numbers are right.

In each round runs are submitted without a pause. At a random moment `tpctl backup` is run, and a
while later the control plane is stopped, or killed with -9. Then `tpctl restore` puts the backup
into the same directory, or into a fresh one as on another host. A worker of its own lives on all
the time, with results of the life that is lost. Afterwards what was submitted before the backup and
after the restore must be DONE and counted once, with ids that were never used; all else must be
unknown.
"""

import csv
import io
import random
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import httpx
import typer

from bench.load.restore_load import DEFINITIONS, PAUSE_S, Load
from bench.servers.broker import Broker, obtain
from bench.servers.fleet import ServiceProcess, client_of, free_ports
from bench.servers.system import report, script
from control.model.names import STATE_FILE

ENDS_S: Final = 180.0
_LOOK_S: Final = 0.2
_KILLED: Final = 0.5  # So many of all rounds,
_ELSEWHERE: Final = 0.3  # and so many.
_DOCTOR: Final = ("restored data", "stored data")


class BusChoice(StrEnum):
    """What carries the jobs."""

    EMBEDDED = "embedded"
    KAFKA = "kafka"


class RestoreSite:
    """A control plane with a worker of its own, and another one; addresses stay."""

    def __init__(self, root: Path, flags: Sequence[str]) -> None:
        self._root = root
        self._hosts = 0
        ports = free_ports(2)
        self._flags = ["--workers", "4", "--log-level", "warning", *flags]
        self._flags += ["--listen", f"127.0.0.1:{ports[0]}", "--gateway", f"127.0.0.1:{ports[1]}"]
        self._environ = {"XDG_STATE_HOME": str(root / "state")}
        self.data = root
        self.move()
        command = [script("tpworker"), "--data-dir", str(self.data)]
        command += ["--slots", "4", "--name", "other"]
        log = root / "worker.log"
        self.worker = ServiceProcess("worker", command, log, "worker ready", self._environ)

    def move(self) -> None:
        """Go on in a fresh directory."""
        self._hosts += 1
        self.data = self._root / f"data-{self._hosts}"
        command = [script("tpctl"), "up", "--data-dir", str(self.data), *self._flags]
        log = self._root / "control.log"
        self.control = ServiceProcess("control", command, log, "ready  ", self._environ)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Both, with the pipelines, while the block runs."""
        try:
            self.control.start()
            self.worker.start()
            with client_of(self.data) as client:
                for each in DEFINITIONS:
                    client.put(f"/v1/pipelines/{each['name']}", json=each).raise_for_status()
            yield
        finally:
            self.worker.stop()
            self.control.stop()

    def tpctl(self, *words: str) -> str:
        """What a command says; raises SystemExit with it if it fails."""
        command = [script("tpctl"), "--data-dir", str(self.data), *words]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=ENDS_S)
        if done.returncode:
            message = f"{' '.join(words)}: exit code {done.returncode}: {done.stderr}"
            raise SystemExit(message)
        return done.stderr


@dataclass
class RestoreHistory:
    """What is known over all rounds."""

    numbers: dict[int, int] = field(default_factory=dict)  # Of the runs of this life.
    jobs: dict[int, list[dict[str, Any]]] = field(default_factory=dict)  # Of those that were seen.
    used: set[int] = field(default_factory=set)  # Ids of runs and jobs of all lives.


class RestoreRound(NamedTuple):
    """What one round showed."""

    how: str
    known: int
    lost: int
    fresh: int
    again: int  # Of the runs that are known: those that were open in the backup.
    backup_s: float
    start_s: float  # From the start to ready.
    problems: Sequence[str]

    def __str__(self) -> str:
        return (
            f"{self.how:<18} {self.known:>5} runs known ({self.again:>3} open), "
            f"{self.lost:>4} lost, {self.fresh:>4} new; "
            f"backup {self.backup_s:4.1f} s, start {self.start_s:4.1f} s  "
            f"{'; '.join(self.problems[:5]) or 'ok'}"
        )


def one_round(
    site: RestoreSite, past: RestoreHistory, chance: random.Random, numbers: Iterator[int]
) -> RestoreRound:
    """Load, back up, break, restore, load, check."""
    backup = site.data / "backups" / f"{time.time_ns()}.tar.gz"
    backup.parent.mkdir(exist_ok=True)
    killed, elsewhere = chance.random() < _KILLED, chance.random() < _ELSEWHERE
    with Load(site.data, chance, numbers) as load:
        time.sleep(chance.uniform(0.2, 1.5))
        began = time.monotonic()
        site.tpctl("backup", "--to", str(backup))
        ended = time.monotonic()
        time.sleep(chance.uniform(0.2, 2.0))
        if killed:
            site.control.kill()
    if not killed:
        site.control.stop()
    early = {run: n for at, run, n in load.accepted if at < began}
    late = {run for at, run, _ in load.accepted if at > ended + PAUSE_S}
    past.used.update(run for _, run, _ in load.accepted)
    if elsewhere:
        kept = backup.replace(site.data.parent / backup.name)
        site.move()
        site.data.mkdir(mode=0o700)
        backup = kept
    site.tpctl("restore", str(backup), "--yes")
    again = _open_in(site.data)
    starts = time.monotonic()
    site.control.start()
    ready_s = time.monotonic() - starts
    how = f"{'killed' if killed else 'stopped'}, {'elsewhere' if elsewhere else 'in place'}"
    with Load(site.data, chance, numbers) as after:
        after.until(chance.randint(2, 6))
    fresh = {run: n for _, run, n in after.accepted}
    with client_of(site.data) as client:
        problems = _wait(client)
        known = [run["id"] for run in _all_runs(client) if run["id"] not in fresh]
        problems += _check_ids(known, early, late, fresh, past)
        past.numbers.update(early | fresh)
        problems += _check_runs(client, [*known, *fresh], past)
        problems += _check_numbers(client, [*known, *fresh], past)
        problems += _check_doctor(client)
    return RestoreRound(
        how=how,
        known=len(known),
        lost=len([run for _, run, _ in load.accepted if run not in set(known)]),
        fresh=len(fresh),
        again=again,
        backup_s=ended - began,
        start_s=ready_s,
        problems=problems,
    )


def _open_in(directory: Path) -> int:
    """How many runs are open in a state that nobody uses."""
    question = "SELECT count(*) FROM runs WHERE state IN ('READY', 'IN_PROGRESS')"
    with closing(sqlite3.connect(directory / STATE_FILE)) as conn:
        return int(conn.execute(question).fetchone()[0])


def _wait(client: httpx.Client) -> list[str]:
    deadline = time.monotonic() + ENDS_S
    open_runs = 0
    while time.monotonic() < deadline:
        open_runs = sum(
            len(client.get("/v1/runs", params={"state": state, "limit": 1}).json()["items"])
            for state in ("READY", "IN_PROGRESS")
        )
        if not open_runs:
            return []
        time.sleep(_LOOK_S)
    return ["runs are still open"]


def _all_runs(client: httpx.Client) -> Iterator[dict[str, Any]]:
    cursor: str | None = None
    while True:
        page = {"limit": "500"} | ({} if cursor is None else {"cursor": cursor})
        answer = client.get("/v1/runs", params=page).raise_for_status().json()
        yield from answer["items"]
        cursor = answer["next_cursor"]
        if cursor is None:
            return


def _check_ids(
    known: Iterable[int],
    early: Iterable[int],
    late: Iterable[int],
    fresh: Iterable[int],
    past: RestoreHistory,
) -> list[str]:
    """Runs before the backup are there, lost ones are not, and no id comes twice."""
    there = set(known)
    problems = [f"run {run} of before the backup is gone" for run in set(early) - there]
    problems += [f"run {run} of before is gone" for run in set(past.jobs) - there]
    problems += [f"run {run} of after the backup is there" for run in set(late) & there]
    return problems + [f"id {run} was given again" for run in set(fresh) & past.used]


def _check_runs(client: httpx.Client, runs: Sequence[int], past: RestoreHistory) -> list[str]:
    """Each run is DONE, with its own output and log; each new job has an id that is new."""

    def look(run: int) -> tuple[dict[str, Any], list[dict[str, Any]], str]:
        shown = client.get(f"/v1/runs/{run}").raise_for_status().json()
        jobs = client.get(f"/v1/runs/{run}/jobs").raise_for_status().json()["items"]
        log = ""
        if shown["pipeline"] == "echo":
            log = client.get(f"/v1/jobs/{jobs[0]['id']}/logs").raise_for_status().text
        return shown, jobs, log

    problems = []
    unseen = [run for run in runs if run not in past.jobs]
    with ThreadPoolExecutor(4) as pool:
        for run, (shown, jobs, log) in zip(unseen, pool.map(look, unseen), strict=True):
            n = shown["input"]["n"]
            if shown["state"] != "DONE":
                problems.append(f"run {run} is {shown['state']}: {shown['reason']}")
            if past.numbers.get(run, n) != n:
                problems.append(f"run {run} has the input {n}, not {past.numbers[run]}")
            if shown["pipeline"] == "echo" and (jobs[0]["output"], log) != (n, f"{n}\n"):
                problems.append(f"run {run} with {n} has {jobs[0]['output']} and the log {log!r}")
            past.jobs[run] = jobs
    ids = Counter(job["id"] for jobs in past.jobs.values() for job in jobs)
    return problems + [f"job {job} is there {n} times" for job, n in ids.items() if n > 1]


def _check_numbers(client: httpx.Client, runs: Sequence[int], past: RestoreHistory) -> list[str]:
    """Facts and reports say the same as a naive count of the jobs."""
    jobs = [(job, run) for run in runs for job in past.jobs[run]]
    expected = Counter((job["id"], job["state"] == "DONE") for job, _ in jobs)
    deadline = time.monotonic() + 20
    while True:
        text = client.get("/v1/stats/export?format=csv").raise_for_status().text
        facts = list(csv.DictReader(io.StringIO(text)))
        final = Counter(
            (int(row["job_id"]), row["outcome"] == "done")
            for row in facts
            if row["final"] == "true"
        )
        if final == expected or time.monotonic() > deadline:
            break
        time.sleep(_LOOK_S)
    problems = [f"facts: {key} is there {final[key]} times" for key in final - expected]
    problems += [f"facts: {key} is missing" for key in expected - final]
    twice = Counter((row["job_id"], row["attempt"]) for row in facts)
    problems += [f"facts: attempt {key} is there {n} times" for key, n in twice.items() if n > 1]
    summary = client.get("/v1/stats/summary?window=24h").raise_for_status().json()
    if summary["jobs"] != len(jobs):
        problems.append(f"the summary has {summary['jobs']} jobs, not {len(jobs)}")
    rows = client.get("/v1/stats/pipelines?window=24h").raise_for_status().json()["items"]
    for row in rows:
        mine = {run for run in runs if _pipeline(past.jobs[run]) == row["pipeline"]}
        done = sum(job["state"] == "DONE" for job, run in jobs if run in mine)
        if (row["runs"], row["done"]) != (len(mine), done):
            problems.append(f"the report of {row['pipeline']} is {row}, not {len(mine)}, {done}")
    return problems


def _pipeline(jobs: Sequence[dict[str, Any]]) -> str:
    return {"say": "echo", "wait": "long"}.get(jobs[0]["name"], "stages")


def _check_doctor(client: httpx.Client) -> list[str]:
    checks = client.get("/v1/doctor").raise_for_status().json()["items"]
    by_name = {check["check"]: check for check in checks}
    problems = [f"doctor does not speak of {name}" for name in _DOCTOR if name not in by_name]
    return problems + [f"{each['check']}: {each['detail']}" for each in checks if not each["ok"]]


def main(
    bus: Annotated[BusChoice, typer.Option(help="What carries the jobs.")] = BusChoice.EMBEDDED,
    rounds: Annotated[int, typer.Option(help="How many times.")] = 10,
    seed: Annotated[int, typer.Option(help="Of load, moments, and ways.")] = 1,
) -> None:
    """A line a round; exit code 1 when a check fails, and then all is kept."""
    root = Path(tempfile.mkdtemp(prefix="tp-restores-"))
    chance, past, done = random.Random(seed), RestoreHistory(), list[RestoreRound]()
    numbers = iter(range(10**9))
    with ExitStack() as stack:
        flags: list[str] = []
        if bus is BusChoice.KAFKA:
            broker = stack.enter_context(Broker(obtain(), root / "kafka"))
            flags = ["--bus", f"kafka://{broker.address}"]
        site = RestoreSite(root, flags)
        stack.enter_context(site.running())
        for number in range(rounds):
            done.append(one_round(site, past, chance, numbers))
            print(f"{number + 1:>3} {done[-1]}", flush=True)
            if done[-1].problems:
                break  # What is wrong would be found again in each round.
    report(
        {
            "bench": "restores",
            "bus": bus.value,
            "rounds": len(done),
            "runs_lost": sum(each.lost for each in done),
            "runs_again": sum(each.again for each in done),
            "runs_at_the_end": len(past.jobs),
            "backup_s_max": max(each.backup_s for each in done),
            "start_s_max": max(each.start_s for each in done),
        }
    )
    if any(each.problems for each in done):
        print(f"all is in {root}")
        raise typer.Exit(1)
    shutil.rmtree(root)


if __name__ == "__main__":
    typer.run(main)
