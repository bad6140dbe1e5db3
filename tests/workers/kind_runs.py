"""Owns how tests run a kind without a worker around it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Raw

from control.model.errors import JobFailed
from control.model.kinds import Job, Kind, Launcher, Result
from control.model.this import Subject


class Recorder:
    """A reporter that remembers."""

    def __init__(self) -> None:
        self.text = ""
        self.fractions: list[float] = []

    async def log(self, text: str) -> None:
        self.text += text

    async def progress(self, fraction: float) -> None:
        self.fractions.append(fraction)


class Runs:
    """Runs one kind's jobs, each in a directory of its own."""

    def __init__(
        self, kind: Kind[msgspec.Struct], directory: Path, launcher: Launcher | None = None
    ) -> None:
        self.kind = kind
        self.launcher = launcher
        self.directory = directory
        self.report = Recorder()
        self._count = 0

    async def raw(
        self,
        params: object,
        *,
        env: Mapping[str, str] | None = None,
        job_input: object = None,
        client: str | None = None,
        subject: Subject | None = None,
    ) -> Result:
        """Run one job with these params, as JSON says them."""
        self._count += 1
        directory = self.directory / str(self._count)
        directory.mkdir()
        job = Job(
            run_id=7,
            job_id=self._count,
            attempt=1,
            name="a-job",
            input=Raw(msgspec.json.encode(job_input)),
            env=env or {},
            directory=directory,
            client=client,
            launcher=self.launcher,
            subject=subject or Subject(),
        )
        read = msgspec.json.decode(msgspec.json.encode(params), type=self.kind.params)
        return await self.kind.run(job, read, self.report)

    async def __call__(self, **params: object) -> object:
        """Run one job and return its output."""
        return msgspec.json.decode((await self.raw(params)).output)


def details(outcome: Result | JobFailed) -> Any:  # noqa: ANN401 - Any JSON.
    """What an attempt adds to the topic of its kind's results."""
    assert outcome.details is not None
    return msgspec.json.decode(outcome.details)
