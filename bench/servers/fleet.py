"""Owns a control plane spread over processes, with its workers, so that each can be broken."""

import os
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import httpx
from confluent_kafka.admin import AdminClient

START_S = 60.0
STOP_S = 30.0
_LOOK_S = 0.05
_STATE = "api,scheduler,trigger,statistics"


class ServiceProcess:
    """One process of ours; what it says goes to a file. It keeps its addresses over restarts."""

    def __init__(
        self, name: str, command: Sequence[str], log: Path, ready: str, environ: Mapping[str, str]
    ) -> None:
        self.name = name
        self.log = log
        self._command = command
        self._ready = ready
        self._environ = environ
        self._process: subprocess.Popen[bytes] | None = None
        self._read = 0  # Of the log, by the process that runs now.

    def start(self) -> None:
        """Return when it says that it is ready."""
        self._read = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            environ = {**os.environ, "NO_COLOR": "1", **self._environ}
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environ,
                process_group=0,  # A Ctrl-C is ours: we end them.
            )
        self.wait_for(self._ready)

    def wait_for(self, text: str) -> None:
        """Wait until it has said so since its start."""
        deadline = time.monotonic() + START_S
        while text not in self.said():
            assert self._process is not None
            if self._process.poll() is not None or time.monotonic() > deadline:
                message = f"{self.name} does not say {text!r}; its log is {self.log}"
                raise SystemExit(message)
            time.sleep(_LOOK_S)

    def said(self) -> str:
        """What it has said since its start."""
        with self.log.open("rb") as log:
            log.seek(self._read)
            return log.read().decode(errors="replace")

    @property
    def pid(self) -> int:
        """Of the process that runs now."""
        assert self._process is not None
        return self._process.pid

    @property
    def runs(self) -> bool:
        """Whether it does."""
        return self._process is not None and self._process.poll() is None

    def exit_code(self) -> int:
        """Of the process that has ended."""
        assert self._process is not None
        return self._process.wait(STOP_S)

    def kill(self) -> None:
        """kill -9."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        """SIGSTOP: it hangs, and its sockets stay open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it cleanly if it runs; else, or when it takes too long, at once."""
        if self._process is None or self._process.poll() is not None:
            return
        self.resume()
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()


def control_plane(directory: Path, address: str, prefix: str, *flags: str) -> ServiceProcess:
    """`tpctl up` on a broker; its log stands beside its data directory."""
    command = [_script("tpctl"), "up", "--data-dir", str(directory), *flags]
    command += ["--bus", f"kafka://{address}", "--topic-prefix", prefix]
    log = directory.with_name(f"{directory.name}.log")
    return ServiceProcess(directory.name, command, log, "ready  ", {})


def client_of(directory: Path) -> httpx.Client:
    """An API client with the admin's credentials."""
    values = tomllib.loads((directory / "credentials.toml").read_text(encoding="utf-8"))
    auth = (values["client_id"], values["client_secret"])
    return httpx.Client(base_url=values["url"], auth=auth, timeout=60.0)


class KafkaFleet:
    """A state host, dispatchers, balancers, and workers that know all gateways; on one broker."""

    def __init__(
        self,
        directory: Path,
        address: str,
        prefix: str,
        *,
        balancers: int = 2,
        dispatchers: int = 3,
        workers: int = 4,
        slots: int = 8,
        queue_size: int = 100_000,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.address = address
        self.prefix = prefix
        self.directory = directory
        self.host_directory = directory / "host"
        api, *gateways = free_ports(1 + dispatchers)
        listen = ["--listen", f"127.0.0.1:{api}"]
        self.host = self._plane("host", _STATE, *listen, "--queue-size", str(queue_size))
        self.balancers = [self._plane(f"balancer-{n}", "balancer") for n in range(balancers)]
        self.dispatchers = [
            self._plane(f"dispatcher-{n}", "dispatcher", "--gateway", f"127.0.0.1:{port}")
            for n, port in enumerate(gateways)
        ]
        self.gateways = [f"ws://127.0.0.1:{port}" for port in gateways]
        self.workers = [self._worker(n, slots) for n in range(workers)]

    def __enter__(self) -> Self:
        try:
            self.host.start()
            self._together([*self.balancers, *self.dispatchers], ServiceProcess.start)
            self._together(self.workers, ServiceProcess.start)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def processes(self) -> list[ServiceProcess]:
        """All of them, in the order in which they can be stopped."""
        return [*self.workers, *self.dispatchers, *self.balancers, self.host]

    def stop(self) -> None:
        """End all that run: workers hand back first."""
        for group in (self.workers, self.dispatchers + self.balancers, [self.host]):
            self._together(group, ServiceProcess.stop)

    def client(self) -> httpx.Client:
        """An API client with the admin's credentials."""
        return client_of(self.host_directory)

    def active_balancer(self) -> ServiceProcess:
        """The one that is elected now."""
        admin = AdminClient({"bootstrap.servers": self.address})
        group = f"{self.prefix}taskplane-balancer"
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            (future,) = admin.describe_consumer_groups([group]).values()
            active = {
                member.client_id
                for member in future.result().members
                if member.assignment.topic_partitions
            }
            for balancer in self.balancers:
                name = (self.directory / balancer.name / "member").read_text(encoding="utf-8")
                if f"taskplane-{name.strip()}" in active:
                    return balancer
            time.sleep(_LOOK_S)
        message = "no balancer is elected"
        raise SystemExit(message)

    def _plane(self, name: str, services: str, *flags: str) -> ServiceProcess:
        flags = ("--services", services, *flags)
        return control_plane(self.directory / name, self.address, self.prefix, *flags)

    def _worker(self, number: int, slots: int) -> ServiceProcess:
        name = f"worker-{number}"
        # Each begins with another gateway.
        at = number % len(self.gateways)
        urls = self.gateways[at:] + self.gateways[:at]
        command = [_script("tpworker"), "--slots", str(slots), "--name", name]
        command += ["--data-dir", str(self.host_directory)]
        command += [part for url in urls for part in ("--url", url)]
        return ServiceProcess(name, command, self.directory / f"{name}.log", "worker ready", {})

    @staticmethod
    def _together(
        processes: Sequence[ServiceProcess], do: Callable[[ServiceProcess], None]
    ) -> None:
        if processes:
            with ThreadPoolExecutor(len(processes)) as pool:
                list(pool.map(do, processes))


def free_ports(count: int) -> list[int]:
    """Bound all at once, so that they differ."""
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def _script(name: str) -> str:
    return str(Path(sys.executable).parent / name)
