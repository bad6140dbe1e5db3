"""Owns the calls that start runs: of a stored pipeline, unnamed, many at once, through a hook."""

import hashlib
import re
import sqlite3
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import msgspec
import trio
from msgspec import Raw

from control.admission.fair_use import FairUse
from control.api.auth.permissions import check_pipeline, check_targets
from control.api.endpoints.hook_input import CLOUD_EVENT, FORM, hook_input
from control.api.endpoints.schemas import Batch, BatchItem, BatchStarted, StartRun, StartUnnamed
from control.api.http.parsing import parsed
from control.api.http.problems import one
from control.api.http.request import (
    JSON,
    KEY_PATTERN,
    Answer,
    Call,
    Operation,
    Route,
    check_input,
    routes_of,
)
from control.core.pipelines import ownership
from control.core.pipelines.documents import read_json
from control.core.pipelines.requirements import targets_of
from control.core.pipelines.validate import pipeline_from_value
from control.core.schedules.cron import check_schedule
from control.model import limits
from control.model.api.views import RunView
from control.model.clock import Clock
from control.model.errors import Conflict, Invalid, NotFound, Problem
from control.model.kinds import KindRegistry
from control.model.pipelines import Pipeline
from control.model.state_rows import NewRun
from control.model.states import Trigger
from control.transactions.run_transactions import Ledger
from store import catalog, clients
from store.reader import Reader
from store.views import Views
from store.writer import Tx, Writer

TAG: Final = "runs"
T = TypeVar("T")
_ERRORS: Final = (400, 409, 413, 415, 422, 429)
_START: Final = msgspec.json.Decoder(StartRun)
_UNNAMED: Final = msgspec.json.Decoder(StartUnnamed)
_BATCH: Final = msgspec.json.Decoder(Batch)
_PLAIN_INPUTS: Final = frozenset({b"null", b"{}", b"[]", b'""', b"0", b"true", b"false"})
Made = tuple[int, int]
"""The first id and the number of the runs a request made."""


class Starting:
    """Carries out the calls that start runs."""

    def __init__(
        self,
        *,
        reader: Reader,
        writer: Writer,
        ledger: Ledger,
        views: Views,
        kinds: KindRegistry,
        clock: Clock,
        fair: FairUse,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._ledger = ledger
        self._views = views
        self._kinds = kinds
        self._clock = clock
        self._fair = fair

    def routes(self) -> list[Route]:
        """Which call is carried out by what."""
        return routes_of(self._start, self._unnamed, self._batch, self._hook)

    @Operation(
        method="POST",
        path="/v1/pipelines/{name}/runs",
        name="startRun",
        summary="Start a run of a stored pipeline",
        tag=TAG,
        answer=RunView,
        status=201,
        body=StartRun,
        body_needed=False,
        errors=(404, *_ERRORS),
        idempotent=True,
    )
    async def _start(self, call: Call) -> Answer:
        asked = await call.json(_START)
        name, who = call.text("name"), call.who
        wanted = _Wanted(
            client=who.client_id,
            trigger=_trigger(call),
            input=check_input(asked.input, "input"),
            priority=asked.priority,
        )

        def news(conn: sqlite3.Connection, now_ms: int) -> list[NewRun]:
            owned = catalog.owned(conn, name)
            check_pipeline(who, name, owned.client)
            return [_new(conn, owned.revision_id, wanted, now_ms)]

        return _created(await self._make(call, 1, news, self._view))

    @Operation(
        method="POST",
        path="/v1/runs",
        name="startUnnamedRun",
        summary="Run a definition once without storing it",
        tag=TAG,
        answer=RunView,
        status=201,
        body=StartUnnamed,
        errors=_ERRORS,
        idempotent=True,
    )
    async def _unnamed(self, call: Call) -> Answer:
        asked = await call.json(_UNNAMED)
        pipeline = await parsed(
            call,
            self._fair,
            len(bytes(asked.pipeline)),
            lambda: self._definition(asked.pipeline),
        )
        wanted = _Wanted(
            client=call.who.client_id,
            trigger=_trigger(call),
            input=check_input(asked.input, "input"),
            priority=asked.priority,
        )

        def news(conn: sqlite3.Connection, now_ms: int) -> list[NewRun]:
            targets = targets_of(pipeline)
            owners = catalog.owners(conn, (target.pipeline for target in targets))
            check_targets(call.who, targets, owners)
            revision_id = catalog.unnamed(conn, pipeline, wanted.client, now_ms=now_ms)
            return [_new(conn, revision_id, wanted, now_ms)]

        return _created(await self._make(call, 1, news, self._view))

    @Operation(
        method="POST",
        path="/v1/runs:batch",
        name="startRuns",
        summary="Start many runs at once, all or none",
        tag=TAG,
        answer=BatchStarted,
        status=201,
        body=Batch,
        errors=_ERRORS,
        idempotent=True,
    )
    async def _batch(self, call: Call) -> Answer:
        if call.large:
            await call.body()  # First: who sends it slowly keeps nobody else waiting.
            await call.hold(self._fair.bulk, limits.BULK_MAX)
        asked = (await call.json(_BATCH)).runs
        inputs = _inputs(asked)
        who, trigger = call.who, _trigger(call)

        def news(conn: sqlite3.Connection, now_ms: int) -> list[NewRun]:
            revisions = _resolve(call, conn, asked)
            priority, max_running = clients.limits_of(conn, who.client_id)
            return [
                NewRun(
                    revision_id=revisions[item.pipeline],
                    client=who.client_id,
                    client_priority=priority,
                    max_running=max_running,
                    trigger=trigger,
                    created_ms=now_ms,
                    priority=item.priority,
                    input=run_input,
                )
                for item, run_input in zip(asked, inputs, strict=True)
            ]

        first, count = await self._make(call, len(asked), news, lambda _, made: made)
        # Put together by hand: thousands of values for one number each cost more than the rest.
        made = b'},{"id":'.join(b"%d" % run_id for run_id in range(first, first + count))
        return Answer(body=b'{"runs":[{"id":' + made + b"}]}")

    @Operation(
        method="POST",
        path="/v1/hooks/{token}",
        name="triggerHook",
        summary="Start a run from outside; the body becomes its input",
        tag="hooks",
        answer=RunView,
        status=201,
        body=Raw,
        body_media=(JSON, CLOUD_EVENT, FORM),
        any_json=True,
        body_needed=False,
        errors=(400, 404, 409, 413, 415, 422, 429),
    )
    async def _hook(self, call: Call) -> Answer:
        token = call.text("token")
        # The body is read only for a known token, on its client's share.
        _, call.key = await self._reader.read(lambda conn: catalog.hook_target(conn, token))
        run_input = hook_input(call.media, await call.body())

        def work(tx: Tx) -> RunView:
            name, client = catalog.hook_target(tx.conn, token)
            owned = catalog.owned(tx.conn, name)
            # What its client is now: a hook may do no more than who made it.
            if not ownership.may_start(clients.standing(tx.conn, client), owned.client):
                message = "there is no hook with this token"
                raise NotFound(message)
            wanted = _Wanted(client=client, trigger=Trigger.HOOK, input=run_input)
            new = _new(tx.conn, owned.revision_id, wanted, self._clock.wall_ms())
            return self._view(tx.conn, (self._ledger.submit(tx, [new])[0].id, 1))

        return _created(await self._writer.write(work))

    async def _make(
        self,
        call: Call,
        count: int,
        news: Callable[[sqlite3.Connection, int], list[NewRun]],
        shown: Callable[[sqlite3.Connection, Made], T],
    ) -> T:
        """Start runs, unless the request's Idempotency-Key says that they were started before.

        What is answered is read in the same transaction: a second hop to a reading thread would
        get in the way of the run's own first steps.
        """
        key = _key(call)
        client, clock = call.who.client_id, self._clock
        body = await call.body() if key else b""
        digest = hashlib.sha256(call.place.encode() + b"\n" + body).digest()

        def work(tx: Tx) -> T:
            if key:
                first = catalog.recall(tx.conn, client, key, digest, now_ms=clock.steady_ms())
                if first is not None:
                    return shown(tx.conn, (first, count))
            run_id = self._ledger.submit(tx, news(tx.conn, clock.wall_ms()))[0].id
            if key:
                at_ms = clock.steady_ms()
                catalog.remember(tx.conn, client, key, digest, run_id=run_id, now_ms=at_ms)
            return shown(tx.conn, (run_id, count))

        writer = self._writer
        if call.large:  # It is alone already; others have their turn before the next one.
            begin = trio.current_time()
            try:
                return await writer.write(work, bulk=True)
            finally:
                await trio.sleep(min(trio.current_time() - begin, limits.BULK_PAUSE_S))
        if count < limits.BULK_RUNS_MIN:
            return await writer.write(work, patient=True)
        # (A commit of its own for each would cost a twelfth of the throughput, where all submit by
        # some hundreds.)
        async with self._fair.bulk.hold(call.key):
            return await writer.write(work, patient=True)

    def _view(self, conn: sqlite3.Connection, made: Made) -> RunView:
        try:
            return self._views.run(conn, made[0])
        except NotFound as error:
            # An Idempotency-Key of a run that was deleted since.
            message = f"run {made[0]}, which this key started, was deleted"
            raise Conflict(message) from error

    def _definition(self, value: Raw) -> Pipeline:
        try:
            document = read_json(bytes(value))
        except Invalid as error:
            problems = (
                Problem(path=f"pipeline.{p.path}".rstrip("."), message=p.message, hint=p.hint)
                for p in error.problems
            )
            raise Invalid(tuple(problems)) from error
        return pipeline_from_value(
            document.value,
            kinds=self._kinds,
            check_schedule=check_schedule,
            path=("pipeline",),
        )


def _created(run: RunView) -> Answer:
    return Answer(body=run, headers={"location": f"/v1/runs/{run.id}"})


class _Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A run that is asked for."""

    client: str
    trigger: Trigger
    input: Raw
    priority: int | None = None


def _new(conn: sqlite3.Connection, revision_id: int, wanted: _Wanted, now_ms: int) -> NewRun:
    priority, max_running = clients.limits_of(conn, wanted.client)
    return NewRun(
        revision_id=revision_id,
        client=wanted.client,
        client_priority=priority,
        max_running=max_running,
        trigger=wanted.trigger,
        created_ms=now_ms,
        priority=wanted.priority,
        input=wanted.input,
    )


def _inputs(asked: Sequence[BatchItem]) -> list[Raw]:
    checked: list[Raw] = []
    for at, item in enumerate(asked):
        # Most inputs are small, and the smallest are known to be right.
        plain = bytes(item.input) in _PLAIN_INPUTS
        checked.append(item.input if plain else check_input(item.input, f"runs[{at}].input"))
    return checked


def _resolve(call: Call, conn: sqlite3.Connection, asked: Sequence[BatchItem]) -> dict[str, int]:
    """Each name's revision, looked up once; raises `Invalid` with every name there is not."""
    revisions: dict[str, int] = {}
    problems: list[Problem] = []
    for at, item in enumerate(asked):
        if item.pipeline in revisions:
            continue
        revisions[item.pipeline] = 0
        try:
            owned = catalog.owned(conn, item.pipeline)
        except NotFound as error:
            problems.append(Problem(path=f"runs[{at}].pipeline", message=str(error)))
        else:
            check_pipeline(call.who, item.pipeline, owned.client)
            revisions[item.pipeline] = owned.revision_id
    if problems:
        raise Invalid(tuple(problems[: limits.PROBLEMS_MAX]))
    return revisions


def _key(call: Call) -> str | None:
    key = call.header("idempotency-key")
    if key is None:
        return None
    if len(key) > limits.IDEMPOTENCY_KEY_CHARS_MAX or not re.fullmatch(KEY_PATTERN, key):
        message = f"1 to {limits.IDEMPOTENCY_KEY_CHARS_MAX} printable ASCII characters are allowed"
        raise one("Idempotency-Key", message)
    return key


def _trigger(call: Call) -> Trigger:
    return Trigger.MANUAL if call.by_hand else Trigger.API
