"""Owns the calls that start runs: of a stored pipeline, unnamed, many at once, through a hook."""

import hashlib
import re
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import msgspec
import trio
from msgspec import Raw

from control.admission.fair_use import FairUse
from control.api.endpoints.hook_input import CLOUD_EVENT, FORM, hook_input
from control.api.endpoints.run_plans import (
    BatchPlan,
    HookPlan,
    RunPlan,
    StoredPlan,
    UnnamedPlan,
    Wanted,
)
from control.api.endpoints.schemas import Batch, BatchItem, BatchStarted, StartRun, StartUnnamed
from control.api.http.parsing import parsed
from control.api.http.problems import one
from control.api.http.request import (
    JSON,
    KEY_PATTERN,
    ApiResponse,
    Call,
    Operation,
    Route,
    check_input,
    routes_of,
)
from control.core.pipelines.documents import read_json
from control.core.pipelines.validate import pipeline_from_value
from control.core.schedules.cron import check_schedule
from control.model import limits
from control.model.api.views import RunView
from control.model.clock import Clock
from control.model.errors import Conflict, Invalid, NotFound, Problem
from control.model.kinds import KindRegistry
from control.model.numbers import RunId
from control.model.pipelines import Pipeline
from control.model.states import Trigger
from control.transactions.run_transactions import Ledger
from store import catalog
from store.database.connection import Connection
from store.database.reader import Reader
from store.database.writer import Tx, Writer
from store.views import Views

TAG: Final = "runs"
T = TypeVar("T")
_ERRORS: Final = (400, 409, 413, 415, 422, 429)
_START: Final = msgspec.json.Decoder(StartRun)
_UNNAMED: Final = msgspec.json.Decoder(StartUnnamed)
_BATCH: Final = msgspec.json.Decoder(Batch)
_PLAIN_INPUTS: Final = frozenset({b"null", b"{}", b"[]", b'""', b"0", b"true", b"false"})
Made = tuple[RunId, int]
"""The first id and the number of the runs a request made."""


class _Repeat(msgspec.Struct, frozen=True):
    """A request that can be known again by its Idempotency-Key."""

    client: str
    key: str
    digest: bytes  # Of all that it asks for.

    def recall(self, conn: Connection, now_ms: int) -> RunId | None:
        """The first run that it started before; raises `Conflict` for another request."""
        return catalog.recall(conn, self.client, self.key, self.digest, now_ms=now_ms)

    def remember(self, conn: Connection, run_id: RunId, now_ms: int) -> None:
        """It has started this run."""
        catalog.remember(conn, self.client, self.key, self.digest, run_id=run_id, now_ms=now_ms)


class StartRunCalls:
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
    async def _start(self, call: Call) -> ApiResponse:
        asked = await call.json(_START)
        plan = StoredPlan(who=call.who, pipeline=call.text("name"), wanted=_wanted(call, asked))
        return _created(await self._submit(call, plan, self._view))

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
    async def _unnamed(self, call: Call) -> ApiResponse:
        asked = await call.json(_UNNAMED)
        pipeline = await parsed(
            call,
            self._fair,
            len(bytes(asked.pipeline)),
            lambda: self._definition(asked.pipeline),
        )
        plan = UnnamedPlan(who=call.who, pipeline=pipeline, wanted=_wanted(call, asked))
        return _created(await self._submit(call, plan, self._view))

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
    async def _batch(self, call: Call) -> ApiResponse:
        if call.large:
            await call.body()  # First: who sends it slowly keeps nobody else waiting.
            await call.hold(self._fair.bulk, limits.BULK_MAX)
        asked = (await call.json(_BATCH)).runs
        plan = BatchPlan(who=call.who, trigger=_trigger(call), items=asked, inputs=_inputs(asked))
        first, count = await self._submit(call, plan, lambda _, made: made)
        # Put together by hand: thousands of values for one number each cost more than the rest.
        made = b'},{"id":'.join(b"%d" % run_id for run_id in range(first, first + count))
        return ApiResponse(body=b'{"runs":[{"id":' + made + b"}]}")

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
    async def _hook(self, call: Call) -> ApiResponse:
        token = call.text("token")
        # The body is read only for a known token, on its client's share.
        _, call.key = await self._reader.read(lambda conn: catalog.hook_target(conn, token))
        plan = HookPlan(token=token, input=hook_input(call.media, await call.body()))
        run = await self._writer.write(lambda tx: self._start_now(tx, plan, None, self._view))
        return _created(run)

    async def _submit(self, call: Call, plan: RunPlan, shown: Callable[[Connection, Made], T]) -> T:
        """Start runs, unless the request's Idempotency-Key says that they were started before."""
        key, repeat = _key(call), None
        if key is not None:
            asked = call.place.encode() + b"\n" + await call.body()
            repeat = _Repeat(call.who.client_id, key, hashlib.sha256(asked).digest())

        def work(tx: Tx) -> T:
            return self._start_now(tx, plan, repeat, shown)

        if call.large:  # It is alone already; others have their turn before the next one.
            begin = trio.current_time()
            try:
                return await self._writer.write(work, bulk=True)
            finally:
                await trio.sleep(min(trio.current_time() - begin, limits.BULK_PAUSE_S))
        if plan.count < limits.BULK_RUNS_MIN:
            return await self._writer.write(work, patient=True)
        # (A commit of its own for each would cost a twelfth of the throughput, where all submit by
        # some hundreds.)
        async with self._fair.bulk.hold(call.key):
            return await self._writer.write(work, patient=True)

    def _start_now(
        self,
        tx: Tx,
        plan: RunPlan,
        repeat: _Repeat | None,
        shown: Callable[[Connection, Made], T],
    ) -> T:
        """The one transaction of a plan.

        What is answered is read here, too: a second hop to a reading thread would get in the way
        of the run's own first steps.
        """
        first = None if repeat is None else repeat.recall(tx.conn, self._clock.steady_ms())
        if first is None:
            new = plan.new_runs(tx.conn, self._clock.wall_ms())
            first = self._ledger.submit(tx, new)[0].id
            if repeat is not None:
                repeat.remember(tx.conn, first, self._clock.steady_ms())
        return shown(tx.conn, (first, plan.count))

    def _view(self, conn: Connection, made: Made) -> RunView:
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


def _created(run: RunView) -> ApiResponse:
    return ApiResponse(body=run, headers={"location": f"/v1/runs/{run.id}"})


def _wanted(call: Call, asked: StartRun | StartUnnamed) -> Wanted:
    return Wanted(
        client=call.who.client_id,
        trigger=_trigger(call),
        input=check_input(asked.input, "input"),
        priority=asked.priority,
    )


def _inputs(asked: Sequence[BatchItem]) -> list[Raw]:
    checked: list[Raw] = []
    for at, item in enumerate(asked):
        # Most inputs are small, and the smallest are known to be right.
        plain = bytes(item.input) in _PLAIN_INPUTS
        checked.append(item.input if plain else check_input(item.input, f"runs[{at}].input"))
    return checked


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
