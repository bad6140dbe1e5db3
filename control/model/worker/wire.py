"""Owns the worker protocol's frames, version 1 (docs/worker-protocol.md tells the whole story).

One websocket message is one JSON array of frames, in order, at most `limits.FRAME_MESSAGES_MAX`;
both ends send whatever is ready as one array. Every frame about an attempt carries its lease:
job id, attempt, and epoch. Inbound frames with unknown fields are refused. The worker's first
frame is `hello`, the gateway's first is `welcome` or `refused`.
"""

from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from control.model import limits
from control.model.numbers import (
    Attempt,
    Count,
    Epoch,
    ExitCode,
    Instant,
    JobIdField,
    LogOffset,
    RunId,
)
from control.model.states import Outcome
from control.model.this import Subject
from control.model.worker.isolation import Isolation

VERSION: Final = 1
SUBPROTOCOL: Final = "taskplane.worker.v1"

Label = Annotated[str, Meta(min_length=1, max_length=limits.NAME_CHARS_MAX)]
ShortText = Annotated[str, Meta(max_length=limits.NAME_CHARS_MAX)]
Text = Annotated[str, Meta(max_length=limits.TEXT_CHARS_MAX)]


class Lease(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Who may report about which attempt. On the wire: `[job_id, attempt, epoch]`."""

    job_id: JobIdField
    attempt: Attempt
    epoch: Epoch


class _Frame(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="t"):
    pass


# Worker -> gateway.


class Hello(_Frame, frozen=True, kw_only=True, omit_defaults=True, tag="hello"):
    """Who connects, what it can do, and what it is still holding (after a reconnect)."""

    version: int
    worker: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
    host: ShortText
    slots: Annotated[int, Meta(ge=1, le=limits.SLOTS_MAX)]
    labels: Annotated[tuple[Label, ...], Meta(max_length=limits.LABELS_MAX)] = ()
    kinds: dict[str, tuple[str, ...]] = {}
    holding: tuple[Lease, ...] = ()  # Running, or waiting in the worker's queue.
    draining: bool = False
    now_ms: Instant  # The worker's clock.
    isolation: Isolation | None = None  # None: a worker that cannot isolate jobs, nor say so.
    # Random, drawn when the process starts: tells one that comes back from another of its name.
    instance: Annotated[str, Meta(pattern=r"^[0-9a-f]{0,64}$")] = ""
    parts: bool = False  # It can send large results in parts.
    subject: bool = False  # It knows the field of that name of `assign`.


class Began(_Frame, frozen=True, kw_only=True, tag="started"):
    """An attempt began. Left out when its result travels in the same message."""

    lease: Lease
    started_ms: Instant


class Progress(_Frame, frozen=True, kw_only=True, tag="progress"):
    """How much of an attempt is done: from 0 to 1."""

    lease: Lease
    progress: Annotated[float, Meta(ge=0, le=1)]


class Log(_Frame, frozen=True, kw_only=True, tag="log"):
    """Text of an attempt's log; `offset` counts bytes, so that a gap shows."""

    lease: Lease
    offset: LogOffset
    text: Annotated[str, Meta(max_length=limits.LOG_CHUNK_BYTES_MAX)]


class Ended(_Frame, frozen=True, kw_only=True, tag="result"):
    """How an attempt ended; sent again after a reconnect until it is acknowledged."""

    lease: Lease
    outcome: Outcome
    started_ms: Instant | None = None
    finished_ms: Instant
    duration: Annotated[
        float, Meta(ge=0, le=limits.SECONDS_MAX)
    ]  # Seconds, by the worker's monotonic clock.
    exit_code: ExitCode | None = None
    error: Text | None = None
    log_bytes: Count = 0
    output: Raw = Raw(b"null")
    final: bool | UnsetType = UNSET  # True: trying again cannot help.
    details: Raw | UnsetType = UNSET  # Additional information, for the topic of the kind's results.


class Part(_Frame, frozen=True, kw_only=True, tag="part"):
    """A piece of a large `result` frame: `offset` and the `size` of all of it are in bytes.

    Only for a gateway whose welcome has `received`.
    """

    lease: Lease
    offset: Count
    size: Annotated[int, Meta(ge=1, le=limits.RESULT_BYTES_MAX)]
    text: Annotated[str, Meta(min_length=1, max_length=limits.MESSAGE_BYTES)]


class HandedBack(_Frame, frozen=True, kw_only=True, tag="handback"):
    """Attempts given back before they began; the worker has forgotten them."""

    leases: tuple[Lease, ...]


class Leaving(_Frame, frozen=True, kw_only=True, tag="drain"):
    """The worker takes no new attempts and goes when the running ones have ended."""


class Sick(_Frame, frozen=True, kw_only=True, tag="sick"):
    """The worker cannot start attempts, and why; it hands them back. Empty: it can again."""

    reason: Text


class Beat(_Frame, frozen=True, kw_only=True, tag="beat"):
    """The worker's job loop is alive; sent every `limits.HEARTBEAT_S`."""

    now_ms: Instant


# Gateway -> worker.


class Welcome(_Frame, frozen=True, kw_only=True, omit_defaults=True, tag="welcome"):
    """The worker is accepted. `drop`: leases it said it holds that are no longer its own.

    `received`: how many bytes are here of results that it sends in parts; None: it must not.
    """

    version: int
    dispatcher: str
    drop: tuple[Lease, ...] = ()
    received: tuple[tuple[Lease, Count], ...] | None = None


class Refused(_Frame, frozen=True, kw_only=True, tag="refused"):
    """The worker is not accepted, and why. The socket closes after it."""

    reason: str


class Assign(_Frame, frozen=True, kw_only=True, omit_defaults=True, tag="assign"):
    """Execute this attempt as soon as a slot is free. `work`: `{"params": …, "env": …}`.

    `client`: whose job it is; sent only to workers whose hello has `isolation`, since others would
    refuse the field, as `subject` only to those whose hello has that.
    """

    lease: Lease
    run_id: RunId
    name: str
    kind: str
    version: str
    timeout: float | None = None
    work: Raw
    input: Raw
    client: str | None = None
    subject: Subject | None = None


class Ack(_Frame, frozen=True, kw_only=True, tag="ack"):
    """These results are recorded (or refused for good): the worker may forget them."""

    leases: tuple[Lease, ...]


class Cancel(_Frame, frozen=True, kw_only=True, tag="cancel"):
    """Stop this attempt; a result with outcome `cancelled` is expected."""

    lease: Lease
    reason: str


class TakeBack(_Frame, frozen=True, kw_only=True, tag="takeback"):
    """Hand these attempts back if they have not begun."""

    leases: tuple[Lease, ...]


class Drain(_Frame, frozen=True, kw_only=True, tag="drain"):
    """Take nothing new, finish what runs, then leave."""


FromWorker = Hello | Began | Progress | Log | Ended | Part | HandedBack | Leaving | Sick | Beat
ToWorker = Welcome | Refused | Assign | Ack | Cancel | TakeBack | Drain

ENCODER: Final = msgspec.json.Encoder()
FROM_WORKER: Final = msgspec.json.Decoder(list[FromWorker])
TO_WORKER: Final = msgspec.json.Decoder(list[ToWorker])
