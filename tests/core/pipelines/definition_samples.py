"""Owns the kinds and the definitions that the tests of definitions take as examples."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from control.model.json_values import Json
from control.model.kinds import Job, Kind, KindRegistry, Reporter, Result


class EchoParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Params with a little of every type."""

    command: str | list[str]
    count: Annotated[int, Meta(ge=1, le=10)] = 1
    ratio: Annotated[float, Meta(gt=0, lt=1)] = 0.5
    flag: bool = False
    mode: Literal["fast", "slow"] = "fast"
    headers: dict[str, str] = {}
    codes: tuple[int, ...] = ()
    pair: tuple[int, str] | None = None
    name: Annotated[str, Meta(pattern="^[a-z]+$", max_length=5)] = "x"
    step: Annotated[int, Meta(multiple_of=5)] = 5
    body: msgspec.Raw = msgspec.Raw(b"null")

    def __post_init__(self) -> None:
        if self.command == "forbidden":
            msg = "this command is forbidden"
            raise ValueError(msg)


class EmptyParams(msgspec.Struct, frozen=True, kw_only=True):
    """Params that take anything."""


class NeverRun(Kind[msgspec.Struct]):
    """A kind whose definition is all that matters here."""

    summary = "Not run by a validator."

    async def run(self, job: Job, params: msgspec.Struct, report: Reporter) -> Result:
        raise NotImplementedError


class Echo(NeverRun):
    """Has strict params."""

    name = "Echo"
    version = "1.0.0"
    params = EchoParams


class OldNoop(NeverRun):
    """Has no params."""

    name = "K8S/Noop"
    version = "1.9.0"
    params = EmptyParams


class Noop(OldNoop):
    """Does nothing, newly."""

    version = "1.10.0"


KINDS = KindRegistry({"Echo": {"1.0.0": Echo}, "K8S/Noop": {"1.9.0": OldNoop, "1.10.0": Noop}})


def check_schedule(cron: str, timezone: str) -> list[tuple[str, str]]:
    problems = [] if len(cron.split()) == 5 else [("cron", "five fields are expected")]
    return problems + ([("timezone", "unknown")] if timezone == "Mars" else [])


def job(name: str = "a", **fields: Json) -> dict[str, Json]:
    made: dict[str, Json] = {"name": name, "stage": "one", "kind": "Echo"}
    return made | {"params": {"command": "x"}} | fields


def pipeline(*jobs: Json, **fields: Json) -> dict[str, Json]:
    made: dict[str, Json] = {"name": "p", "stages": ["one", "two"], "jobs": list(jobs) or [job()]}
    return made | fields


FULL: dict[str, Json] = pipeline(
    job("pull", env={"URL": "${{ run.url }}"}, labels=["gpu", "zone=a"], timeout=60, priority=-1),
    job("push", stage="two", params={"command": ["x", "${{ jobs.pull.rows }}"]}, when="always"),
    job("now", stage="two", needs=[], kind="K8S/Noop", version="1.9.0", retry_attempt=3),
    job("last", stage="two", needs=["push", "pull"], kind="K8S/Noop", params={"any": [1, None]}),
    description="Everything.",
    priority=3,
    timeout=3600.5,
    schedules=[
        {"cron": "*/5 * * * *", "timezone": "Europe/Paris", "input": {"a": [1]}, "missed": "all"},
        {"cron": "0 1 * * *", "dst": {"gap": "skip", "fold": "both"}, "window": 60},
    ],
    triggers=[{"pipeline": "q"}, {"pipeline": "q", "when": "on_failure"}],
)
