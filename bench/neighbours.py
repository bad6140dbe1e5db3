"""Measures how soon a small submission is accepted and started while a neighbour is hostile.

For each attack a fresh control plane with a worker; a victim that submits a run each half second;
200 connections of the attacker. And while it goes on: memory, and how long a clean stop takes.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated

import httpx
import msgspec
import trio
import typer

from bench.load.attacks import ATTACKS, READY
from bench.load.watching import put_pipeline
from bench.servers.system import System, percentile, start_control, start_worker
from bench.throughput import NOOP

_EVERY_S = 0.5
_STOP_MAX_S = 30.0
_SLOTS = 4
_HOSTILE = {**NOOP, "name": "hostile", "jobs": [{**NOOP["jobs"][0], "labels": ["none"]}]}  # type: ignore[index]


class AttackResult(msgspec.Struct, frozen=True):
    """What one attack did to the others. Seconds, MiB."""

    attack: str
    accepted: list[float]
    started: list[float]
    refused: int
    memory_mib: float
    stop_s: float

    def line(self) -> str:
        """As a row of the table."""
        shown = [
            f"{percentile(values, share):8.3f}"
            for values in (self.accepted, self.started)
            for share in (0.5, 0.95, 1.0)
        ]
        rest = f"{self.refused:8d} {self.memory_mib:8.0f} {self.stop_s:8.1f}"
        return f"{self.attack:24}{' '.join(shown)} {rest}"


HEAD = f"{'attack':24}" + " ".join(
    f"{name:>8}"
    for name in ("acc p50", "p95", "max", "start 50", "p95", "max", "refused", "MiB", "stop s")
)


def measure(
    attack: str, *, seconds: float = 10.0, connections: int = 200, seed: int = 1
) -> AttackResult:
    """Attack a fresh control plane for so long."""
    with tempfile.TemporaryDirectory(prefix="tp-bench-") as folder:
        directory = Path(folder)
        with (
            start_control(directory) as control,
            start_worker(directory, slots=_SLOTS, name="bench"),
        ):
            system = System(directory, [control.pid])
            secrets = _prepare(system)
            before = tree_mib(control.pid)
            with _attacking(system, attack, secrets, connections, seed):
                found = trio.run(_victim, system, secrets["victim"], seconds)
                control_s = time.perf_counter()
                control.terminate()
                try:
                    control.wait(_STOP_MAX_S)
                except subprocess.TimeoutExpired:
                    control.kill()
                stop_s = time.perf_counter() - control_s
        accepted, started, refused, peak = found
        return AttackResult(attack, accepted, started, refused, peak - before, stop_s)


def _prepare(system: System) -> dict[str, str]:
    """Clients, and runs to be listed; gives the clients' secrets."""
    secrets = {}
    with httpx.Client(base_url=system.url, auth=system.auth, timeout=60) as client:
        for name, role in (
            ("victim", "submitter"),
            ("submitter", "submitter"),
            ("viewer", "viewer"),
        ):
            made = client.post("/v1/clients", json={"client_id": name, "role": role})
            secrets[name] = made.raise_for_status().json()["client_secret"]
        runs = [{"pipeline": {**NOOP, "name": "long"}, "input": {"text": "x" * 200_000}}]
        client.post("/v1/runs", json=runs[0]).raise_for_status()
        auth = ("submitter", secrets["submitter"])
        client.put("/v1/pipelines/hostile", json=_HOSTILE, auth=auth).raise_for_status()
        for _ in range(20):
            body = {"runs": [{"pipeline": "hostile", "input": {"text": "x" * 4_000}}] * 100}
            client.post("/v1/runs:batch", json=body, auth=auth).raise_for_status()
    return secrets


@contextmanager
def _attacking(
    system: System, attack: str, secrets: dict[str, str], connections: int, seed: int
) -> Iterator[None]:
    command = [sys.executable, "-m", "bench.load.attacks", attack, "--api", system.url]
    command += ["--gateway", system.gateway, "--connections", str(connections)]
    command += ["--seed", str(seed)]
    environ = {f"TP_{name.upper()}_SECRET": secret for name, secret in secrets.items()}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, **environ}
    ) as process:
        assert process.stdout is not None
        try:
            if READY not in process.stdout.readline():
                message = "the attack did not begin"
                raise SystemExit(message)
            yield
        finally:
            process.kill()


Found = tuple[list[float], list[float], int, float]


async def _victim(system: System, secret: str, seconds: float) -> Found:
    accepted: list[float] = []
    runs: list[int] = []
    peak, refused = 0.0, 0
    auth = httpx.BasicAuth("victim", secret)
    async with httpx.AsyncClient(base_url=system.url, auth=auth, timeout=60) as client:
        await put_pipeline(client, {**NOOP, "name": "small"})

        async def submit() -> None:
            nonlocal refused
            begin = time.perf_counter()
            try:
                answer = await client.post("/v1/pipelines/small/runs", json={})
            except httpx.TransportError:
                refused += 1
                return
            if answer.status_code != httpx.codes.CREATED:
                refused += 1
                return
            accepted.append(time.perf_counter() - begin)
            runs.append(answer.json()["id"])

        async with trio.open_nursery() as nursery:
            end = trio.current_time() + seconds
            due = trio.current_time()
            while trio.current_time() < end:
                if trio.current_time() >= due:
                    nursery.start_soon(submit)
                    due += _EVERY_S
                peak = max(peak, tree_mib(system.processes[0]))
                await trio.sleep(0.05)
        started = [await _start_s(client, run) for run in runs]
    return accepted, [each for each in started if each is not None], refused, peak


async def _start_s(client: httpx.AsyncClient, run: int) -> float | None:
    with trio.move_on_after(10):
        while True:
            answer = await client.get(f"/v1/runs/{run}")
            found = answer.json() if answer.status_code == httpx.codes.OK else {}
            if found.get("started_at"):
                created, began = (
                    datetime.fromisoformat(found[name]) for name in ("created_at", "started_at")
                )
                return (began - created).total_seconds()
            await trio.sleep(0.2)
    return float("inf")


def tree_mib(process: int) -> float:
    """Resident memory of a process and of what it started."""
    total = 0.0
    for each in [process, *_children(process)]:
        try:
            text = Path(f"/proc/{each}/status").read_text(encoding="ascii", errors="replace")
        except OSError:
            continue
        size = [line.split()[1] for line in text.splitlines() if line.startswith("VmRSS")]
        total += int(size[0]) / 1024 if size else 0
    return total


def _children(process: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{process}/task").iterdir():
        try:
            found += map(int, (task / "children").read_text(encoding="ascii").split())
        except OSError:
            continue
    return found


def main(
    attacks: Annotated[
        list[str] | None, typer.Argument(help=f"Of: {', '.join(ATTACKS)}. Default: all.")
    ] = None,
    seconds: Annotated[float, typer.Option(help="Of each attack.")] = 10.0,
    connections: Annotated[int, typer.Option(help="Of the attacker.")] = 200,
    seed: Annotated[int, typer.Option(help="Of all chance.")] = 1,
) -> None:
    """Acceptance and start of a small run, memory, and the clean stop, during each attack."""
    print(HEAD)
    for attack in attacks or list(ATTACKS):
        found = measure(attack, seconds=seconds, connections=connections, seed=seed)
        print(found.line(), flush=True)


if __name__ == "__main__":
    typer.run(main)
