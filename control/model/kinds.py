"""Owns what a kind is, and finds the kinds installed here through their entry points.

A kind is one way of executing a job. A class that derives from `Kind` is named in the
entry-point group `taskplane.kinds`; the control plane uses its params Struct to refuse what
does not fit, the worker calls `run`. The few that the control plane executes itself derive from
`BaseKind` only.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import ClassVar, Final, Generic, NamedTuple, Protocol, TypeVar

import msgspec

from control.model.display_text import clean
from control.model.errors import ConfigError
from control.model.names import KINDS_ENTRY_POINTS
from control.model.numbers import JobId, RunId
from control.model.surroundings.base import Surroundings
from control.model.this import Subject, This, this_of, with_this
from control.model.worker.settings import WorkerSettings

P = TypeVar("P", bound=msgspec.Struct)
_VERSION: Final = re.compile(r"\d{1,9}\.\d{1,9}\.\d{1,9}")


class Reporter(Protocol):
    """What a running attempt may tell: log lines and progress. Neither ever blocks for long."""

    async def log(self, text: str) -> None:
        """Add text to the attempt's log, as it came; lines end with a newline."""

    async def progress(self, fraction: float) -> None:
        """Say how much is done, from 0 to 1."""


class Process(Protocol):
    """A process that a job has started, as `trio.Process` is one. It leads a group of its own."""

    @property
    def pid(self) -> int:
        """Its number, and its group's."""

    @property
    def returncode(self) -> int | None:
        """Its exit code, or less than zero: the signal that ended it; None: not known to end."""

    def poll(self) -> int | None:
        """Look whether it has ended."""

    async def wait(self) -> int:
        """Sleep until it has ended."""

    def signal(self, number: int) -> None:
        """Signal it and its group, unless it has ended: then its number may be another's."""

    async def settle(self) -> None:
        """Kill it and what it has started; returns when all is gone. To be called once."""


class Launcher(Protocol):
    """Starts the processes of jobs, isolated as the worker's operator wants them."""

    async def start(
        self,
        command: Sequence[str],
        *,
        directory: Path,
        cwd: Path | str,
        env: Mapping[str, str],
        output: int,
        pass_fds: Collection[int] = (),
        adopts: bool = False,
    ) -> Process:
        """Start a process in a group of its own; raises OSError or ValueError.

        `directory`: what of the worker's files it may use; `output`: the descriptor that gets its
        stdout and stderr. Its stdin is empty. `adopts`: what it starts and loses its parent becomes
        its own child (Linux).
        """


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What one attempt knows about itself. `input`: docs/contract.md, "The input of a job"."""

    run_id: int
    job_id: int
    attempt: int
    name: str
    input: msgspec.Raw
    env: Mapping[str, str]
    # Its own, empty, gone afterwards, if the kind `wants_directory`; else where those of all are.
    directory: Path
    client: str | None = None  # Whose job it is; None: the gateway does not say.
    launcher: Launcher | None = None  # None: its processes are not isolated.
    subject: Subject = Subject()  # Of which run it is.

    @property
    def this(self) -> This:
        """What it knows of its run."""
        return this_of(
            run_id=RunId(self.run_id),
            job_id=JobId(self.job_id),
            attempt=self.attempt,
            job=self.name,
            client=self.client,
            subject=self.subject,
        )

    @property
    def first_attempt(self) -> int:
        """All attempts from this one to the one before `attempt` were lost with their workers.

        What they left running may be adopted.
        """
        first = self.subject.first_attempt
        return self.attempt if first is None else first

    @property
    def installation(self) -> str:
        """Which control plane's the job is, a random name; empty: it does not say."""
        return self.subject.installation

    @property
    def document(self) -> bytes:
        """`input` with `this` in it: what jobs read in the file `$TP_INPUT`."""
        return with_this(bytes(self.input), self.this)


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What an attempt gives back when it did not raise. `output` is any JSON.

    `details`: JSON for the kind's own topic of results, in addition to the output.
    """

    output: msgspec.Raw = msgspec.Raw(b"null")
    exit_code: int | None = None
    details: msgspec.Raw | None = None


class BaseKind(Generic[P]):
    """What a definition says of a job, whichever program executes it."""

    name: ClassVar[str]
    version: ClassVar[str]
    summary: ClassVar[str]
    params: type[P]
    # What surrounds templates in each param (top level); of others, plain data.
    surroundings: ClassVar[Mapping[str, Surroundings]] = {}


class Kind(BaseKind[P], ABC):
    """One way of executing jobs on workers. One instance serves all slots of a worker.

    `run` raises `control.model.errors.JobFailed` with the reason in words when the work failed;
    it is cancelled (trio's `Cancelled`) on time-out and on order, and must then leave nothing
    behind. Templates in `params` have been filled in before `run` is called.
    """

    # A directory for each attempt costs more than many a job, so a kind asks for it.
    wants_directory: ClassVar[bool] = False

    def configure(self, settings: WorkerSettings) -> None:  # noqa: ARG002 - Most need none.
        """Take in what the worker's operator allows; called once, before the first attempt.

        Raises `ConfigError` when these settings cannot be used.
        """
        return

    async def begin(self, directory: Path) -> None:  # noqa: ARG002 - As above.
        """End what a former worker has left; called once, before the first attempt.

        `directory`: of this worker, and of the next one that takes its place. What has to be known
        there is kept in it, in files that are named after the kind.
        """
        return

    @abstractmethod
    async def run(self, job: Job, params: P, report: Reporter) -> Result:
        """Execute one attempt to its end."""

    async def aclose(self) -> None:
        """Release what the kind holds between jobs; called once when the worker stops."""
        return


KindClass = type[BaseKind[msgspec.Struct]]


class BrokenKind(NamedTuple):
    """A kind that is installed, but cannot be used."""

    name: str  # Of its entry point.
    distribution: str
    why: str

    def __str__(self) -> str:
        """All of it, in words."""
        return f"the kind {self.name} of {self.distribution} cannot be used: {self.why}"


class KindRegistry:
    """The kinds found, by name and version; the newest version is a job's default."""

    def __init__(
        self,
        kinds: Mapping[str, Mapping[str, KindClass]],
        broken: Sequence[BrokenKind] = (),
    ) -> None:
        self._kinds = kinds
        self.broken = tuple(broken)

    def missing(self, name: str) -> str | None:
        """Why a kind of this name is not here, if it is known."""
        return next((str(each) for each in self.broken if each.name == name), None)

    def names(self) -> list[str]:
        """Every kind's name, sorted."""
        return sorted(self._kinds)

    def versions(self, name: str) -> list[str]:
        """A kind's versions, oldest first; empty when there is no such kind."""
        return sorted(self._kinds.get(name, {}), key=version_key)

    def of_workers(self) -> dict[tuple[str, str], type[Kind[msgspec.Struct]]]:
        """The kinds that workers execute, by name and version."""
        return {
            (name, version): kind
            for name, versions in self._kinds.items()
            for version, kind in versions.items()
            if issubclass(kind, Kind)
        }

    def get(self, name: str, version: str) -> KindClass:
        """The class of one version; raises KeyError."""
        return self._kinds[name][version]


def version_key(version: str) -> tuple[int, ...]:
    """Order for semantic versions without pre-release parts."""
    return tuple(int(part) for part in version.split("."))


def installed_kinds() -> KindRegistry:
    """Load every kind that an installed distribution names; those that cannot be are `broken`."""
    found: dict[str, dict[str, KindClass]] = {}
    broken: list[BrokenKind] = []
    for entry in sorted(entry_points(group=KINDS_ENTRY_POINTS), key=lambda each: each.name):
        try:
            _add(_loaded(entry), found)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - Whatever an import may raise.
            distribution = entry.dist.name if entry.dist is not None else "an unknown distribution"
            why = (
                str(error) if isinstance(error, ConfigError) else f"{type(error).__name__}: {error}"
            )
            broken.append(BrokenKind(entry.name, distribution, clean(why)))
    return KindRegistry(found, broken)


def _add(kind: KindClass, found: dict[str, dict[str, KindClass]]) -> None:
    other = found.setdefault(kind.name, {}).setdefault(kind.version, kind)
    if other is not kind:
        raise ConfigError(f"{other.__module__} has {kind.name} {kind.version} already")


def _loaded(entry: EntryPoint) -> KindClass:
    """The class of an entry point; raises ConfigError, and whatever its module raises."""
    loaded = entry.load()
    if not (isinstance(loaded, type) and issubclass(loaded, BaseKind) and _may_be(loaded, entry)):
        raise ConfigError(f"{entry.value} is not a Kind class")
    for field in ("name", "version", "summary"):
        if not isinstance(getattr(loaded, field, None), str):
            raise ConfigError(f"{entry.value} has no {field}")
    if not _VERSION.fullmatch(loaded.version):
        raise ConfigError(f"{entry.value} has the version {loaded.version!r}; write it like 1.0.0")
    params = getattr(loaded, "params", None)
    if not (isinstance(params, type) and issubclass(params, msgspec.Struct)):
        raise ConfigError(f"the params of {entry.value} are no msgspec.Struct")
    msgspec.json.Decoder(params)  # Raises when it has a field of a type that cannot be read.
    return loaded


def _may_be(kind: KindClass, entry: EntryPoint) -> bool:
    """Whether there is who executes it: the control plane only executes kinds of its own."""
    ours = entry.module.partition(".")[0] == __name__.partition(".")[0]
    return ours or issubclass(kind, Kind)
