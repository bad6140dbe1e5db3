"""Kills workers and control planes whose jobs are real processes, and looks for what is left.

Each job starts processes that never end by themselves: in its group, in sessions of their own, deaf
to signals, without an environment. In each round something is killed with -9. Then, again and again
until all jobs are DONE, no process of an attempt that is over may be alive, and by the processes'
own heartbeats no attempt may have run beside the next one of its job.
"""

import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Final, NamedTuple

import httpx
import typer

from bench.orphan_jobs import heartbeat
from bench.servers.fleet import ServiceProcess, client_of, free_ports
from bench.servers.system import report, script

ENDS_S: Final = 120.0
_FOLDER: Final = "beats"  # An argument of each process of a job, with its job and attempt.
_ROLES: Final = ("group", "session", "deaf", "bare")
_WORKERS: Final = ("one", "two")
_FINAL: Final = frozenset({"DONE", "ERROR", "CANCELLED"})
_AWAY_S: Final = 0.02
_MS: Final = 1_000_000


class KilledPart(StrEnum):
    """What is killed."""

    WORKER = "worker"
    CONTROL = "control"
    BOTH = "both"
    LOCAL = "local-worker"
    SPAWNER = "worker-and-spawner"
    ALL = "all"


class Attempt(NamedTuple):
    """Which attempt a process belongs to."""

    job: int
    number: int


class OrphanSite:
    """A control plane with a worker of its own, and two others; all keep their addresses."""

    def __init__(self, directory: Path, slots: int) -> None:
        self.data = directory / "data"
        self.beats = directory / _FOLDER
        self.beats.mkdir()
        ports = free_ports(2)
        command = [script("tpctl"), "up", "--data-dir", str(self.data), "--workers", str(slots)]
        command += ["--listen", f"127.0.0.1:{ports[0]}", "--gateway", f"127.0.0.1:{ports[1]}"]
        command += ["--log-level", "warning"]
        environ = {"XDG_STATE_HOME": str(directory / "state")}
        self.control = ServiceProcess(
            "control", command, directory / "control.log", "ready  ", environ
        )
        self.workers = [
            ServiceProcess(
                name,
                [
                    *(script("tpworker"), "--data-dir", str(self.data)),
                    *("--slots", str(slots), "--name", name),
                ],
                directory / f"{name}.log",
                "worker ready",
                environ,
            )
            for name in _WORKERS
        ]

    @contextmanager
    def running(self) -> Iterator[None]:
        """All of it, while the block runs."""
        try:
            for process in (self.control, *self.workers):
                process.start()
            with client_of(self.data) as client:
                for definition in definitions(self.beats):
                    url = f"/v1/pipelines/{definition['name']}"
                    client.put(url, json=definition).raise_for_status()
            yield
        finally:
            for process in (*self.workers, self.control):
                process.stop()

    def local_worker(self) -> int | None:
        """The process of the control plane's worker; None: it has just ended."""
        return next(_children(self.control.pid, b"workers"), None)

    def break_(self, fault: KilledPart, chance: random.Random) -> list[ServiceProcess]:
        """Kill; gives what has to be started again."""
        victim = chance.choice(self.workers)
        match fault:
            case KilledPart.WORKER:
                dead = [victim]
            case KilledPart.CONTROL:
                dead = [self.control]
            case KilledPart.BOTH:
                dead = [victim, self.control]
            case KilledPart.ALL:
                dead = [*self.workers, self.control]
            case KilledPart.LOCAL:
                dead = []
                _kill([pid for pid in (self.local_worker(),) if pid is not None])
            case KilledPart.SPAWNER:
                dead = [victim]
                _kill([victim.pid, *_children(victim.pid, b"spawner")])
        _kill([process.pid for process in dead])
        for process in dead:
            process.kill()
        return dead

    def processes(self) -> dict[int, Attempt]:
        """The processes of jobs that live now, and whose they are."""
        found = {}
        mark = os.fsencode(self.beats)
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError, ValueError):
                arguments = (folder / "cmdline").read_bytes().split(b"\0")
                at = arguments.index(mark)
                if _state(folder.name) not in "ZX":
                    attempt = Attempt(int(arguments[at + 1]), int(arguments[at + 2]))
                    found[int(folder.name)] = attempt
        return found


class OrphanRound(NamedTuple):
    """What one round showed."""

    fault: KilledPart
    attempts: int  # That wrote a heartbeat,
    again: int  # and of them those that were not the first of their job.
    looks: int
    gap_ms: float  # The shortest time from the last sign of an attempt to the next one's first.
    problems: Sequence[str]

    def __str__(self) -> str:
        return (
            f"{self.fault:<18} {self.attempts:>4} attempts, {self.again:>3} again, "
            f"{self.looks:>3} looks, shortest gap {self.gap_ms:7.0f} ms  "
            f"{'; '.join(self.problems) or 'ok'}"
        )


def definitions(beats: Path) -> list[dict[str, object]]:
    """A pipeline of each kind. All processes are found by the folder in their arguments."""
    program = f"{sys.executable} -I -S {heartbeat.__file__} {beats} $TP_JOB_ID $TP_ATTEMPT"
    shell = {"command": f"{program} main ${{{{ run.seconds }}}} {' '.join(_ROLES)}"}
    background = {
        "command": f"for role in {' '.join(_ROLES)}; do {program} $role 1e9 & done; "
        f"{program} main ${{{{ run.seconds }}}}"
    }
    call = {
        "call": f"{Path(heartbeat.__file__).stem}:call",
        "path": str(Path(heartbeat.__file__).parent),
        "args": [str(beats), "${{ run.seconds }}", list(_ROLES)],
    }
    kinds = {
        "tree": ("Shell", shell),
        "background": ("Shell", background),
        "call": ("Python", call),
    }
    return [
        {
            "name": name,
            "stages": ["run"],
            "jobs": [{"name": "job", "stage": "run", "kind": kind, "params": params}],
        }
        for name, (kind, params) in kinds.items()
    ]


def one_round(site: OrphanSite, fault: KilledPart, runs: int, chance: random.Random) -> OrphanRound:
    """Submit, kill, start again, and look until all has ended."""
    problems: list[str] = []
    heartbeats = site.beats / heartbeat.FILE
    heartbeats.unlink(missing_ok=True)
    with client_of(site.data) as client:
        names = [str(each["name"]) for each in definitions(site.beats)]
        batch = [
            {"pipeline": chance.choice(names), "input": {"seconds": chance.uniform(0.1, 1.5)}}
            for _ in range(runs)
        ]
        answer = client.post("/v1/runs:batch", json={"runs": batch}).raise_for_status()
        jobs = [f"/v1/runs/{run['id']}/jobs" for run in answer.json()["runs"]]
    time.sleep(chance.uniform(0.3, 1.5))
    dead = site.break_(fault, chance)
    with ThreadPoolExecutor(1) as pool:
        restart = pool.submit(_start_again, site, dead, chance.uniform(0.0, 2.0))
        looks, states, seen = _look(site, jobs)
        restart.result()
    problems += seen
    if not problems:
        problems += [f"job {job} is {s}" for job, (s, _) in states.items() if s != "DONE"]
    if not problems and (left := site.processes()):
        problems.append(f"processes {sorted(left)} outlived all jobs")
    lives = _lives(heartbeats)
    beside, gap_ms = _overlaps(lives)
    again = sum(attempt.number > 1 for attempt in lives)
    return OrphanRound(fault, len(lives), again, looks, gap_ms, [*problems, *beside])


def _start_again(site: OrphanSite, dead: Sequence[ServiceProcess], pause_s: float) -> None:
    time.sleep(pause_s)
    for process in sorted(dead, key=lambda each: each is not site.control):
        process.start()


def _look(
    site: OrphanSite, jobs: Sequence[str]
) -> tuple[int, dict[int, tuple[str, int]], list[str]]:
    """Look until all jobs have ended, or something is wrong: how often, their states, and what."""
    looks, states, problems = 0, dict[int, tuple[str, int]](), list[str]()
    deadline = time.monotonic() + ENDS_S
    while not problems and time.monotonic() < deadline:
        try:
            with client_of(site.data) as client:
                states = _states(client, jobs)
        except httpx.TransportError:  # It was killed, and is not back.
            time.sleep(_AWAY_S)
            continue
        # Only now: what is over by these states must not be there any more.
        problems += [
            f"process {pid} of attempt {attempt.number} of job {attempt.job} outlived it"
            for pid, attempt in site.processes().items()
            if _is_over(attempt, states)
        ]
        looks += 1
        if all(state in _FINAL for state, _ in states.values()):
            return looks, states, problems
    return looks, states, problems or ["its jobs have not ended"]


def _states(client: httpx.Client, urls: Sequence[str]) -> dict[int, tuple[str, int]]:
    found = {}
    for url in urls:
        for job in client.get(url).raise_for_status().json()["items"]:
            found[job["id"]] = (job["state"], job["attempt"])
    return found


def _is_over(attempt: Attempt, states: Mapping[int, tuple[str, int]]) -> bool:
    state, current = states.get(attempt.job, ("DONE", 0))  # Of an earlier round: long over.
    return state in _FINAL or attempt.number < current


def _lives(file: Path) -> dict[Attempt, tuple[int, int]]:
    """The first and last sign of each attempt, by any process of it, in nanoseconds."""
    found: dict[Attempt, tuple[int, int]] = {}
    for line in file.read_text(encoding="ascii").splitlines():
        job, number, _, _, text = line.split()
        attempt, at = Attempt(int(job), int(number)), int(text)
        first, last = found.get(attempt, (at, at))
        found[attempt] = (min(first, at), max(last, at))
    return found


def _overlaps(lives: Mapping[Attempt, tuple[int, int]]) -> tuple[list[str], float]:
    """Which attempts ran beside the next one of their job; and the shortest gap in milliseconds."""
    of_job: defaultdict[int, list[tuple[int, tuple[int, int]]]] = defaultdict(list)
    for attempt, span in sorted(lives.items()):
        of_job[attempt.job].append((attempt.number, span))
    problems, gaps = [], [float("inf")]
    for job, attempts in of_job.items():
        for (number, (_, last)), (_, (first, _)) in pairwise(attempts):
            gaps.append((first - last) / _MS)
            if first <= last:
                problems.append(
                    f"attempt {number} of job {job} ran {-gaps[-1]:.0f} ms beside its successor"
                )
    return problems, min(gaps)


def _kill(pids: Sequence[int]) -> None:
    """All of them together: none of them can do anything about the others."""
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)


def _children(parent: int, word: bytes) -> Iterator[int]:
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError):
            of = (folder / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1]
            if int(of) == parent and word in (folder / "cmdline").read_bytes():
                yield int(folder.name)


def _state(pid: str) -> str:
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]


def main(
    rounds: Annotated[int, typer.Option(help="Rounds, each with the next fault.")] = 10,
    runs: Annotated[int, typer.Option(help="Jobs in each round.")] = 24,
    slots: Annotated[int, typer.Option(help="Of each of the three workers.")] = 4,
    only: Annotated[
        list[KilledPart] | None, typer.Option(help="This fault; may be repeated.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of jobs, victims, and moments.")] = 1,
) -> None:
    """A line a round; exit code 1 when something is left, and then all logs are kept."""
    directory = Path(tempfile.mkdtemp(prefix="tp-orphans-"))
    chance, faults = random.Random(seed), only or list(KilledPart)
    done: list[OrphanRound] = []
    with ExitStack() as stack:
        site = OrphanSite(directory, slots)
        stack.enter_context(site.running())
        for number in range(rounds):
            done.append(one_round(site, faults[number % len(faults)], runs, chance))
            print(f"{number + 1:>3} {done[-1]}", flush=True)
            if done[-1].problems:
                break  # What is left would be found again in each round.
    failed = [each for each in done if each.problems]
    report(
        {
            "bench": "orphans",
            "rounds": len(done),
            "kills": dict(Counter(each.fault.value for each in done)),
            "attempts": sum(each.attempts for each in done),
            "again": sum(each.again for each in done),
            "looks": sum(each.looks for each in done),
            "shortest_gap_ms": min((each.gap_ms for each in done), default=float("inf")),
            "rounds_with_problems": len(failed),
        }
    )
    if failed:
        print(f"all logs are in {directory}")
        raise typer.Exit(1)
    shutil.rmtree(directory)


if __name__ == "__main__":
    typer.run(main)
