"""Owns a real control plane for hostile tests: its process, its clients, its log."""

import base64
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx

from bench.neighbours import tree_mib
from bench.servers.system import STOP_S, script

PIPELINE: Final = {
    "name": "small",
    "stages": ["run"],
    "jobs": [{"name": "job", "stage": "run", "kind": "Sleep", "params": {"seconds": 0}}],
}
WORST_S: Final = 1.0  # Within which a submission is accepted whatever others do.
GROWTH_MIB: Final = 256.0


class Plane:
    """`tpctl up`, and how to reach it."""

    def __init__(self, process: subprocess.Popen[bytes], directory: Path, log: Path) -> None:
        values = tomllib.loads((directory / "credentials.toml").read_text(encoding="utf-8"))
        self.process = process
        self.log = log
        self.url: str = values["url"]
        self.api = _address(values["url"])
        self.gateway = _address(values["gateway"])
        self.secrets = {"admin": values["client_secret"]}

    def client(self, who: str = "admin") -> httpx.Client:
        """Somebody who calls."""
        return httpx.Client(base_url=self.url, auth=(who, self.secrets[who]), timeout=30)

    def basic(self, who: str) -> str:
        """The header of a client."""
        return "Basic " + base64.b64encode(f"{who}:{self.secrets[who]}".encode()).decode()

    def add(self, who: str, role: str) -> None:
        """Another client."""
        with self.client() as client:
            made = client.post("/v1/clients", json={"client_id": who, "role": role})
            self.secrets[who] = made.raise_for_status().json()["client_secret"]

    def memory_mib(self) -> float:
        """Resident memory, with that of processes it started."""
        return tree_mib(self.process.pid)

    def complaints(self) -> list[str]:
        """Lines of the log that speak of a defect."""
        text = self.log.read_text(encoding="utf-8", errors="surrogateescape")
        wrong = ("Traceback", "Error", "request.failed", "\x1b")
        return [line for line in text.splitlines() if any(each in line for each in wrong)]


@contextmanager
def plane_in(folder: Path, *flags: str) -> Iterator[Plane]:
    """Start it, with clients `viewer`, `submitter`, `worker`, `victim`; stop it cleanly."""
    directory, log = folder / "plane", folder / "log.txt"
    command = [script("tpctl"), "up", "--data-dir", str(directory), "--listen", "127.0.0.1:0"]
    command += ["--gateway", "127.0.0.1:0", *flags]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        try:
            for line in process.stderr:
                if line.startswith(b"ready"):
                    break
                sys.stderr.write(line.decode(errors="replace"))
            else:
                message = "the control plane did not start"
                raise AssertionError(message)
            with (
                log.open("wb") as file,
                subprocess.Popen(["cat"], stdin=process.stderr, stdout=file),
            ):
                plane = Plane(process, directory, log)
                roles = {"viewer": "viewer", "submitter": "submitter", "worker": "worker"}
                for who, role in {**roles, "victim": "submitter"}.items():
                    plane.add(who, role)
                with plane.client("victim") as client:
                    client.put("/v1/pipelines/small", json=PIPELINE).raise_for_status()
                yield plane
                process.terminate()
                process.wait(STOP_S)
                process.stderr.close()
        finally:
            process.kill()


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 0
