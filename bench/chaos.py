"""Breaks one part of a system on Kafka in each round, and checks that nothing is lost or doubled.

A state host, three dispatchers, two balancers (one stands by), and four workers that know all
gateways. In mid-run one of them, or the broker, is killed, stopped, or paused beyond its session.
Afterwards every job must be DONE, counted once, and nothing may be left anywhere.
"""

import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Final

import httpx
import msgspec
import typer

from bench.load.watching import ms
from bench.servers.broker import Broker, obtain
from bench.servers.fleet import KafkaFleet, ServiceProcess
from bench.servers.topics import SystemTopics
from control.model.names import Group, Topic
from control.model.states import Outcome

ENDS_S: Final = 60.0  # All work must be done so long after a fault is over.
SETTLES_S: Final = 20.0  # And all parts agree that it is.
RESTART_S: Final = 3.0
STOPPED_S: Final = 30.0
PAUSED_S: Final = 12.0  # Twice a session.
_LOOK_S: Final = 0.1
_COUNTED: Final = "SELECT count(*), count(DISTINCT job_id) FROM facts WHERE outcome = 'done'"


class ChaosFault(StrEnum):
    """What is done to the system."""

    DISPATCHER_KILLED = "dispatcher-killed"
    BALANCER_KILLED = "balancer-killed"
    WORKER_KILLED = "worker-killed"
    HOST_KILLED = "host-killed"
    BROKER_KILLED = "broker-killed"
    BROKER_STOPPED = "broker-stopped"
    DISPATCHER_PAUSED = "dispatcher-paused"
    BALANCER_PAUSED = "balancer-paused"
    HOST_PAUSED = "host-paused"
    WORKER_PAUSED = "worker-paused"


class ChaosRound(msgspec.Struct, frozen=True):
    """What one round showed. `again`: jobs whose attempt was lost with its worker."""

    fault: ChaosFault
    jobs: int
    done_s: float
    again: int
    pause_s: float
    problems: Sequence[str]

    def __str__(self) -> str:
        verdict = "; ".join(self.problems) or "ok"
        return (
            f"{self.fault:<18} {self.jobs:>6} jobs  done after {self.done_s:5.1f} s  "
            f"again {self.again:>3}  longest pause {self.pause_s:5.1f} s  {verdict}"
        )


class _ChaosJob(msgspec.Struct):
    id: int
    run_id: int
    name: str
    state: str
    attempt: int
    reason: str | None = None
    finished_at: str | None = None


class _ChaosJobs(msgspec.Struct):
    items: list[_ChaosJob]


def definitions() -> list[dict[str, object]]:
    """Pipelines of one job of 5 ms to 2 s, one of a shell, and one whose stages pass data on."""
    found = [
        _pipeline(f"chaos-{seconds}", {"kind": "Sleep", "params": {"seconds": seconds}})
        for seconds in (0.005, 0.05, 0.5, 2.0)
    ]
    found.append(_pipeline("chaos-shell", _shell("sleep 0.05; echo done")))
    give = """printf '{"n": 7}' > "$TP_OUTPUT" """
    stages = {
        "one": [("left", give), ("right", give)],
        "two": [("sum", "expr ${{ jobs.left.n }} + ${{ jobs.right.n }} > $TP_OUTPUT")],
        "three": [("check", "test ${{ jobs.sum }} = 14")],
    }
    jobs = [
        {"name": name, "stage": stage, **_shell(command)}
        for stage, commands in stages.items()
        for name, command in commands
    ]
    found.append({"name": "chaos-stages", "stages": list(stages), "jobs": jobs})
    return found


def _pipeline(name: str, job: dict[str, object]) -> dict[str, object]:
    return {"name": name, "stages": ["run"], "jobs": [{"name": "job", "stage": "run", **job}]}


def _shell(command: str) -> dict[str, object]:
    return {"kind": "Shell", "params": {"command": command}}


class Chaos:
    """Rounds with one system. `chance` chooses work and victims."""

    def __init__(self, broker: Broker, fleet: KafkaFleet, chance: random.Random) -> None:
        self._broker = broker
        self._fleet = fleet
        self._chance = chance
        self._topics = SystemTopics(broker.address, fleet.prefix)
        self._total = 0
        with fleet.client() as client:
            for definition in definitions():
                url = f"/v1/pipelines/{definition['name']}"
                client.put(url, json=definition).raise_for_status()

    def round(self, fault: ChaosFault, jobs: int) -> ChaosRound:
        """Submit, break, mend, wait, check."""
        with self._fleet.client() as client:
            runs = self._submit(client, jobs // 2)
            if fault in {ChaosFault.HOST_KILLED, ChaosFault.HOST_PAUSED}:
                runs += self._submit(client, jobs - jobs // 2)
            time.sleep(self._chance.uniform(0.2, 1.0))
            mend, down_s = self._break(fault)
            began = time.monotonic()
            began_ms = time.time() * 1000
            if fault not in {ChaosFault.HOST_KILLED, ChaosFault.HOST_PAUSED}:
                time.sleep(self._chance.uniform(0.0, 1.0))
                runs += self._submit(client, jobs - jobs // 2)
            time.sleep(max(began + down_s - time.monotonic(), 0))
            mend()
            problems = self._wait(client)
            done_s = time.monotonic() - began
            found = self._jobs_of(client, runs)
            self._total += len(found)
            if not problems:
                problems = self._settle(client, found)
        ends = sorted(ms(job.finished_at) for job in found if job.finished_at is not None)
        ends = [began_ms, *(each for each in ends if each > began_ms)]
        return ChaosRound(
            fault=fault,
            jobs=len(found),
            done_s=done_s,
            again=sum(job.attempt > 1 for job in found),
            pause_s=max((b - a for a, b in pairwise(ends)), default=0.0) / 1000,
            problems=problems
            + [f"{p.name} has ended" for p in self._fleet.processes if not p.runs],
        )

    def _submit(self, client: httpx.Client, jobs: int) -> list[int]:
        """A batch with about so many jobs; gives its runs."""
        names = [str(each["name"]) for each in definitions()]
        weights = [40, 25, 12, 5, 10, 2]  # The last has four jobs.
        runs = [{"pipeline": name} for name in self._chance.choices(names, weights, k=jobs)]
        answer = client.post("/v1/runs:batch", json={"runs": runs})
        answer.raise_for_status()
        return [run["id"] for run in answer.json()["runs"]]

    def _break(self, fault: ChaosFault) -> tuple[Callable[[], None], float]:
        """Do it; gives how to mend it, and after how many seconds."""
        if fault == ChaosFault.BROKER_KILLED:
            self._broker.kill()
            return self._broker.start, 0.0
        if fault == ChaosFault.BROKER_STOPPED:
            self._broker.stop()
            return self._broker.start, STOPPED_S
        victim = self._victim(fault)
        if fault.endswith("paused"):
            victim.pause()
            return victim.resume, PAUSED_S
        victim.kill()
        return victim.start, RESTART_S

    def _victim(self, fault: ChaosFault) -> ServiceProcess:
        if fault in {ChaosFault.BALANCER_KILLED, ChaosFault.BALANCER_PAUSED}:
            return self._fleet.active_balancer()
        if fault in {ChaosFault.HOST_KILLED, ChaosFault.HOST_PAUSED}:
            return self._fleet.host
        workers = fault in {ChaosFault.WORKER_KILLED, ChaosFault.WORKER_PAUSED}
        return self._chance.choice(self._fleet.workers if workers else self._fleet.dispatchers)

    def _wait(self, client: httpx.Client) -> list[str]:
        """Until no run is open; what is wrong when that takes too long."""
        deadline = time.monotonic() + ENDS_S
        while True:
            answer = client.get("/metrics")
            answer.raise_for_status()
            text = next(li for li in answer.text.splitlines() if li.startswith(_OPEN_RUNS))
            still = float(text.rpartition(" ")[2])
            if not still:
                return []
            if time.monotonic() > deadline:
                return [f"{still:.0f} runs are still open"]
            time.sleep(_LOOK_S)

    def _jobs_of(self, client: httpx.Client, runs: Sequence[int]) -> list[_ChaosJob]:
        found: list[_ChaosJob] = []
        for run in runs:
            answer = client.get(f"/v1/runs/{run}/jobs")
            answer.raise_for_status()
            found += msgspec.json.decode(answer.content, type=_ChaosJobs).items
        return found

    def _settle(self, client: httpx.Client, jobs: Sequence[_ChaosJob]) -> list[str]:
        """What is wrong even after all parts had time to hear of the end."""
        problems = [
            f"job {job.id} ({job.name}) of run {job.run_id} is {job.state}: {job.reason}"
            for job in jobs
            if job.state != "DONE"
        ]
        deadline = time.monotonic() + SETTLES_S
        while (wrong := self._unsettled(client)) and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
        problems += wrong
        ended = Counter((r.job_id, r.attempt) for r in self._topics.results())
        problems += [f"attempt {key} has {n} results" for key, n in ended.items() if n > 1]
        done = Counter(r.job_id for r in self._topics.results() if r.outcome == Outcome.DONE)
        problems += [f"job {job} was done {n} times" for job, n in done.items() if n > 1]
        for topic, group in _DURABLE:
            left = self._topics.unfinished(topic, group)
            if left:
                places = ", ".join(f"{each.partition}@{each.offset}" for each in left[:5])
                problems.append(f"{len(left)} of {topic} are left: {places}")
        return problems

    def _unsettled(self, client: httpx.Client) -> list[str]:
        answer = client.get("/v1/partitions")
        answer.raise_for_status()
        wrong = [
            f"partition {row['partition']} has depth {row['depth']}, running {row['running']}"
            for row in answer.json()["items"]
            if row["depth"] or row["running"]
        ]
        answer = client.post("/v1/stats/sql", json={"sql": _COUNTED})
        answer.raise_for_status()
        ((rows, distinct),) = answer.json()["rows"]
        if not rows == distinct == self._total:
            wrong.append(f"the facts have {rows} done rows of {distinct} jobs, not {self._total}")
        answer = client.get("/v1/doctor")
        answer.raise_for_status()
        checks = answer.json()["items"]
        wrong += [f"{each['check']}: {each['detail']}" for each in checks if not each["ok"]]
        return wrong


def main(  # noqa: PLR0917 - each is an option of the command.
    rounds: Annotated[int, typer.Option(help="Rounds, each with the next fault.")] = 10,
    jobs: Annotated[int, typer.Option(help="Jobs in each round, about.")] = 400,
    dispatchers: Annotated[int, typer.Option(help="Processes.")] = 3,
    workers: Annotated[int, typer.Option(help="Processes, of 8 slots.")] = 4,
    only: Annotated[
        list[ChaosFault] | None, typer.Option(help="This fault; may be repeated.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of work and victims.")] = 1,
) -> None:
    """A line a round; exit code 1 when a check fails, and then all logs are kept."""
    directory = Path(tempfile.mkdtemp(prefix="tp-chaos-"))
    failed = False
    with ExitStack() as stack:
        broker = stack.enter_context(Broker(obtain(), directory / "kafka"))
        counts = {"dispatchers": dispatchers, "workers": workers}
        fleet = stack.enter_context(KafkaFleet(directory, broker.address, "chaos.", **counts))
        chaos = Chaos(broker, fleet, random.Random(seed))
        faults = only or list(ChaosFault)
        for number in range(rounds):
            found = chaos.round(faults[number % len(faults)], jobs)
            print(f"{number + 1:>3} {found}", flush=True)
            if found.problems:
                failed = True
                break  # What is left would be found again in each round.
    if failed:
        print(f"all logs are in {directory}")
        raise typer.Exit(1)
    shutil.rmtree(directory)


_OPEN_RUNS: Final = "taskplane_runs_open"
_DURABLE: Final = (
    (Topic.TASK_RUNS, Group.BALANCER),
    (Topic.TASK_RUNS_LOAD_BALANCED, Group.DISPATCHER),
)

if __name__ == "__main__":
    typer.run(main)
