"""Decides what a job knows of its run: `this` in templates, `$TP_INPUT`, and the environment."""

import msgspec

from control.model.numbers import Attempt, Count, Instant, JobId, RunId
from control.model.times import to_rfc3339_or_none


class Subject(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Of which run an attempt is; what an older gateway does not say is empty or None.

    `revision` is None of a pipeline that is not stored, too.

    `first_attempt`: all attempts from this one to the one before were lost with their workers, so
    what they left running may be adopted; None: there is none. `installation`: which control
    plane's it is, a random name.
    """

    pipeline: str = ""
    stage: str = ""
    trigger: str = ""
    created_ms: Instant | None = None  # Of the run.
    revision: Count | None = None
    scheduled_ms: Instant | None = None
    first_attempt: Attempt | None = None
    installation: str = ""


class This(msgspec.Struct, frozen=True, kw_only=True):
    """`this` of docs/contract.md, "Templates"; times are RFC 3339. None: the gateway is older."""

    run_id: RunId
    job_id: JobId
    job: str
    pipeline: str | None
    revision: int | None
    stage: str | None
    attempt: int
    trigger: str | None
    client: str | None
    scheduled_for: str | None
    created_at: str | None


def this_of(
    *, run_id: RunId, job_id: JobId, attempt: int, job: str, client: str | None, subject: Subject
) -> This:
    """What an attempt knows of its run."""
    return This(
        run_id=run_id,
        job_id=job_id,
        job=job,
        pipeline=subject.pipeline or None,
        revision=subject.revision,
        stage=subject.stage or None,
        attempt=attempt,
        trigger=subject.trigger or None,
        client=client,
        scheduled_for=to_rfc3339_or_none(subject.scheduled_ms),
        created_at=to_rfc3339_or_none(subject.created_ms),
    )


def with_this(document: bytes, this: This) -> bytes:
    """A job's input, a JSON object with members, with `this` as one more."""
    return document.rstrip()[:-1] + b',"this":' + msgspec.json.encode(this) + b"}"


def variables(this: This) -> dict[str, str]:
    """The environment variables that say the same: `TP_RUN_ID`, `TP_SCHEDULED_FOR`, …"""
    named = msgspec.structs.asdict(this)
    named["job_name"] = named.pop("job")
    return {f"TP_{name.upper()}": str(each) for name, each in named.items() if each is not None}
