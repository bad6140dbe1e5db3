"""Owns the system that a benchmark talks to: one that runs already, or one it starts itself."""

import os
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Annotated

import httpx
import msgspec
import typer

from bench.servers.broker import Broker, obtain
from bench.servers.fleet import KafkaFleet

DataDir = Annotated[Path | None, typer.Option(help="Of a system that runs already.")]
OnKafka = Annotated[bool, typer.Option("--kafka", help="Over a Kafka of its own.")]
Dispatchers = Annotated[
    int, typer.Option(help="Over a Kafka of its own, with so many dispatchers and workers.")
]
STOP_S = 30.0
_STDERR = 2


class System:
    """A running control plane with workers. `processes`: those whose CPU time counts."""

    def __init__(self, directory: Path, processes: list[int], gateway: str | None = None) -> None:
        values = tomllib.loads((directory / "credentials.toml").read_text(encoding="utf-8"))
        self.url: str = values["url"]
        self.gateway: str = gateway or values["gateway"]
        self.auth = (values["client_id"], values["client_secret"])
        self.processes = processes

    def client(self) -> httpx.AsyncClient:
        """A client with credentials; for use under trio."""
        return httpx.AsyncClient(base_url=self.url, auth=self.auth, timeout=60.0)

    def environ(self) -> dict[str, str]:
        """What our commands need to find it."""
        client_id, secret = self.auth
        return {"TP_URL": self.url, "TP_CLIENT_ID": client_id, "TP_CLIENT_SECRET": secret}

    def cpu_s(self) -> float:
        """CPU seconds of the system's own processes so far; 0 when it was not started here."""
        return sum(map(cpu_s, self.processes))

    def set_apart(self) -> None:
        """Give the control plane a core of its own; we, and who we start from now on, get the rest.

        Does nothing where there is only one core, or where the system was not started here.
        """
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) == 1 or not self.processes:
            return
        tasks, moved = Path(f"/proc/{self.processes[0]}/task"), set[str]()
        while fresh := {thread.name for thread in tasks.iterdir()} - moved:
            moved |= fresh  # One that has not been moved yet may have begun another one.
            for thread in fresh:
                with suppress(ProcessLookupError):
                    os.sched_setaffinity(int(thread), cores[:1])
        os.sched_setaffinity(0, cores[1:])

    def memory_mib(self) -> float:
        """Resident memory of the first process, the control plane."""
        return memory_mib(self.processes[0]) if self.processes else 0.0


def cpu_s(process: int) -> float:
    """CPU seconds of a process so far."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2]
    return sum(map(int, fields.split()[11:13])) / os.sysconf("SC_CLK_TCK")


def memory_mib(process: int) -> float:
    """Resident memory of a process."""
    status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


@contextmanager
def system(
    data_dir: Path | None,
    *,
    slots: int,
    workers: int = 1,
    queue_size: int = 100_000,
    kafka: bool = False,
    dispatchers: int = 0,
) -> Iterator[System]:
    """The system whose data directory is given, or a fresh one that ends with the block.

    `dispatchers`: spread over a state host, a balancer and so many dispatchers with a worker
    each, on a Kafka of its own; 0: one process, on the embedded bus or, `kafka`, on such a Kafka.
    """
    if data_dir is not None:
        yield System(data_dir, [])
        return
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tp-bench-")))
        flags = ["--queue-size", str(queue_size)]
        if kafka or dispatchers:
            broker = stack.enter_context(Broker(obtain(), directory / "kafka"))
            flags += ["--bus", f"kafka://{broker.address}"]
        if dispatchers:
            fleet = KafkaFleet(
                directory,
                broker.address,
                "",
                balancers=1,
                dispatchers=dispatchers,
                workers=dispatchers,
                slots=slots,
                queue_size=queue_size,
            )
            stack.enter_context(fleet)
            processes = [process.pid for process in reversed(fleet.processes)]
            yield System(directory / "host", processes, fleet.gateways[0])
            return
        control = stack.enter_context(start_control(directory, *flags))
        processes = [control.pid]
        for number in range(workers):
            name = f"bench-{number}"
            worker = stack.enter_context(start_worker(directory, slots=slots, name=name))
            processes.append(worker.pid)
        yield System(directory, processes)


@contextmanager
def start_control(
    directory: Path, *flags: str, environ: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """`tpctl up` on free ports; ready when the block begins, stopped cleanly after it."""
    command = [script("tpctl"), "up", "--data-dir", str(directory), "--log-level", "warning"]
    if "--listen" not in flags:
        command += ["--listen", "127.0.0.1:0", "--gateway", "127.0.0.1:0"]
    command += flags
    with _running(command, "ready", environ) as process:
        yield process


@contextmanager
def start_worker(
    directory: Path,
    *flags: str,
    slots: int,
    name: str,
    environ: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[str]]:
    """`tpworker` with the credentials of the data directory; ready when the block begins."""
    command = [script("tpworker"), "--data-dir", str(directory), "--slots", str(slots)]
    with _running([*command, "--name", name, *flags], "worker ready", environ) as process:
        yield process


def report(figures: Mapping[str, object]) -> None:
    """One JSON line, then a short table."""
    print(msgspec.json.encode(dict(figures)).decode())
    width = max(map(len, figures))
    for name, value in figures.items():
        shown = f"{value:.2f}" if isinstance(value, float) else value
        print(f"  {name:<{width}}  {shown}")


def percentile(values: list[float], share: float) -> float:
    """The value below which this share of the values lies (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else float("nan")


@contextmanager
def _running(
    command: list[str], ready: str, environ: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, **(environ or {})}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        try:
            for line in process.stderr:
                if ready in line:
                    break
                sys.stderr.write(line)
            else:
                message = f"{command[0]} ended with exit code {process.wait()} before it was ready"
                raise SystemExit(message)
            # From here on nobody reads: what it says goes straight to our own stderr.
            with subprocess.Popen(["cat"], stdin=process.stderr, stdout=_STDERR) as pump:
                try:
                    yield process
                    process.terminate()
                    process.wait(STOP_S)
                except BaseException:
                    pump.kill()  # A worker that is left behind would hold the other end open.
                    raise
                finally:
                    process.kill()  # Only if it has not ended; the pump ends with it.
        finally:
            process.kill()


def script(name: str) -> str:
    """Where a command of ours is."""
    return str(Path(sys.executable).parent / name)
