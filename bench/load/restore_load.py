"""Owns what bench.restores submits without a pause, and what it knows of what was accepted."""

import random
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Self

import httpx

from bench.servers.fleet import client_of

_BATCH_MAX: Final = 12
PAUSE_S: Final = 0.05
_ACCEPTED_S: Final = 180.0

DEFINITIONS: Final[Sequence[dict[str, Any]]] = (
    {
        "name": "echo",
        "stages": ["run"],
        "jobs": [
            {
                "name": "say",
                "stage": "run",
                "kind": "Shell",
                "params": {
                    "command": "echo ${{ run.n }}; echo ${{ run.n }} > $TP_OUTPUT",
                },
            }
        ],
    },
    {
        "name": "stages",
        "stages": ["a", "b"],
        "jobs": [
            {"name": "short", "stage": "a", "kind": "Sleep", "params": {"seconds": 0.05}},
            {
                "name": "fails",
                "stage": "a",
                "kind": "Sleep",
                "params": {"seconds": 0, "fail": True},
                "retry_attempt": 1,
                "allow_failure": True,
            },
            {"name": "after", "stage": "b", "kind": "Sleep", "params": {"seconds": 0}},
        ],
    },
    {
        "name": "long",
        "stages": ["run"],
        "jobs": [{"name": "wait", "stage": "run", "kind": "Sleep", "params": {"seconds": 1.5}}],
    },
)


class Load:
    """Submits without a pause, from a thread, while its block runs."""

    def __init__(self, data: Path, chance: random.Random, numbers: Iterator[int]) -> None:
        self._data = data
        self._chance = random.Random(chance.random())
        self._numbers = numbers
        self._ends = threading.Event()
        self._news = threading.Semaphore(0)  # One for each batch that was accepted.
        self._thread = threading.Thread(target=self._run)
        self.accepted: list[tuple[float, int, int]] = []  # When it was, the run, and its number.

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()

    def until(self, batches: int) -> None:
        """Wait until so many more were accepted."""
        for _ in range(batches):
            self._news.acquire(timeout=_ACCEPTED_S)

    def _run(self) -> None:
        names = [str(each["name"]) for each in DEFINITIONS]
        with client_of(self._data) as client:
            while not self._ends.wait(PAUSE_S):
                count = self._chance.randint(1, _BATCH_MAX)
                chosen = self._chance.choices(names, [6, 3, 1], k=count)
                values = [next(self._numbers) for _ in chosen]
                runs = [
                    {"pipeline": name, "input": {"n": value}}
                    for name, value in zip(chosen, values, strict=True)
                ]
                try:
                    answer = client.post("/v1/runs:batch", json={"runs": runs})
                except httpx.TransportError:
                    return  # It was killed.
                if answer.is_success:
                    made = [run["id"] for run in answer.json()["runs"]]
                    at = time.monotonic()
                    self.accepted += [(at, run, n) for run, n in zip(made, values, strict=True)]
                    self._news.release()
