"""Owns the calls about pipelines: put, show, list, delete, validate."""

from http import HTTPStatus
from typing import Annotated, Final

import msgspec
import structlog
from msgspec import Meta

from control.admission.fair_use import FairUse
from control.api.auth.authentication import Caller
from control.api.auth.permissions import check_pipeline, check_targets, only_of
from control.api.endpoints.schemas import PageQuery
from control.api.http.parsing import parsed
from control.api.http.problems import one
from control.api.http.request import JSON, YAML, ApiResponse, Call, Operation, Route, routes_of
from control.api.live.worker_registry import Crew
from control.core.pipelines import ownership
from control.core.pipelines.requirements import kind_warnings, targets_of
from control.core.pipelines.validate import parse_pipeline
from control.core.schedules.cron import check_schedule
from control.model.api.views import Page, PipelineView
from control.model.clock import Clock
from control.model.errors import Conflict, Problem
from control.model.kinds import KindRegistry
from control.model.names import Change
from control.model.pipelines import Pipeline
from control.transactions import replace_schedules
from store import catalog, clients
from store.catalog import Put, PutEffect
from store.database.connection import Connection
from store.database.reader import Reader
from store.database.writer import Tx, Writer

LOG = structlog.get_logger("pipelines")
TAG: Final = "pipelines"
_MEDIA: Final = (JSON, *YAML)
_BODY: Final = (400, 413, 415, 422)
Warnings = Annotated[
    list[Problem], Meta(description="What will not do what it says, as things are now.")
]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """A definition in which nothing was found wrong."""

    valid: Annotated[bool, Meta(description="Always true: problems are a 422.", examples=[True])]
    pipeline: Annotated[Pipeline, Meta(description="The definition, with all defaults filled in.")]
    warnings: Warnings = []


class StoredPipeline(PipelineView, frozen=True, kw_only=True):
    """A pipeline as it is stored now."""

    warnings: Warnings


class _Stored(msgspec.Struct, frozen=True, kw_only=True):
    """What storing a definition did, and what is to be said of it."""

    put: Put
    warnings: list[Problem]

    @property
    def shown(self) -> StoredPipeline:
        return StoredPipeline(**msgspec.structs.asdict(self.put.pipeline), warnings=self.warnings)


class PipelineCalls:
    """Carries out the calls about pipelines."""

    def __init__(
        self,
        *,
        reader: Reader,
        writer: Writer,
        kinds: KindRegistry,
        clock: Clock,
        fair: FairUse,
        crew: Crew,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._kinds = kinds
        self._clock = clock
        self._fair = fair
        self._crew = crew

    def routes(self) -> list[Route]:
        """Which call is carried out by what."""
        return routes_of(
            self._list, self._create, self._validate, self._show, self._put, self._delete
        )

    @Operation(
        method="GET",
        path="/v1/pipelines",
        name="listPipelines",
        summary="List pipelines by name, without their definitions",
        tag=TAG,
        answer=Page[PipelineView],
        query=PageQuery,
        errors=(422,),
    )
    async def _list(self, call: Call) -> ApiResponse:
        query = call.query(PageQuery)
        own = only_of(call.who)
        page = await self._reader.read(
            lambda conn: catalog.listing(
                conn, after=query.cursor or "", limit=query.limit, client=own
            )
        )
        more = page[-1].name if len(page) == query.limit else None
        return ApiResponse(body=Page(items=page, next_cursor=more))

    @Operation(
        method="GET",
        path="/v1/pipelines/{name}",
        name="showPipeline",
        summary="Show a pipeline with its definition",
        tag=TAG,
        answer=PipelineView,
        errors=(404,),
    )
    async def _show(self, call: Call) -> ApiResponse:
        name = call.text("name")
        found = await self._reader.read(lambda conn: catalog.get(conn, name))
        check_pipeline(call.who, name, found.client)
        return ApiResponse(body=found)

    @Operation(
        method="POST",
        path="/v1/pipelines/validate",
        name="validatePipeline",
        summary="Find every problem of a definition, and change nothing",
        tag=TAG,
        answer=Verdict,
        body=Pipeline,
        body_media=_MEDIA,
        errors=_BODY,
    )
    async def _validate(self, call: Call) -> ApiResponse:
        pipeline = await self._read(call)
        warnings = await self._reader.read(lambda conn: _warnings(call.who, conn, pipeline))
        warnings += self._kind_warnings(pipeline)
        return ApiResponse(body=Verdict(valid=True, pipeline=pipeline, warnings=warnings))

    @Operation(
        method="POST",
        path="/v1/pipelines",
        name="createPipeline",
        summary="Store a new pipeline",
        tag=TAG,
        answer=StoredPipeline,
        status=201,
        body=Pipeline,
        body_media=_MEDIA,
        errors=(409, *_BODY),
    )
    async def _create(self, call: Call) -> ApiResponse:
        pipeline = await self._read(call)
        stored = await self._store(call, pipeline, new=True)
        return ApiResponse(body=stored.shown)

    @Operation(
        method="PUT",
        path="/v1/pipelines/{name}",
        name="putPipeline",
        summary="Create a pipeline, or make its next revision",
        tag=TAG,
        answer=StoredPipeline,
        also=(201,),
        body=Pipeline,
        body_media=_MEDIA,
        errors=_BODY,
    )
    async def _put(self, call: Call) -> ApiResponse:
        name = call.text("name")
        pipeline = await self._read(call)
        if pipeline.name != name:
            raise one("name", f"the path says {name[:128]}", "make both the same")
        stored = await self._store(call, pipeline, new=False)
        created = stored.put.effect == PutEffect.CREATED
        return ApiResponse(
            body=stored.shown, status=HTTPStatus.CREATED if created else HTTPStatus.OK
        )

    @Operation(
        method="DELETE",
        path="/v1/pipelines/{name}",
        name="deletePipeline",
        summary="Delete a pipeline with its schedules and hooks; its runs stay",
        tag=TAG,
        status=204,
        errors=(404,),
    )
    async def _delete(self, call: Call) -> ApiResponse:
        name, who = call.text("name"), call.who

        def work(tx: Tx) -> None:
            check_pipeline(who, name, catalog.owned(tx.conn, name).client)
            catalog.delete(tx.conn, name)
            tx.touch(Change.SCHEDULES)

        await self._writer.write(work)
        return ApiResponse()

    async def _read(self, call: Call) -> Pipeline:
        body = await call.body()
        return await parsed(
            call,
            self._fair,
            len(body),
            lambda: parse_pipeline(
                body,
                yaml=call.media in YAML,
                kinds=self._kinds,
                check_schedule=check_schedule,
            ),
        )

    async def _store(self, call: Call, pipeline: Pipeline, *, new: bool) -> _Stored:
        who, now_ms = call.who, self._clock.wall_ms()

        def work(tx: Tx) -> _Stored:
            present = catalog.find(tx.conn, pipeline.name)
            if present is not None:
                check_pipeline(who, pipeline.name, present.client)
                if new:
                    message = f"there is a pipeline {pipeline.name} already; PUT changes it"
                    raise Conflict(message)
            warnings = _warnings(who, tx.conn, pipeline)
            put = catalog.put(tx.conn, pipeline, who.client_id, now_ms=now_ms)
            if put.effect != PutEffect.UNCHANGED:
                dropped = replace_schedules.sync(
                    tx.conn, pipeline.name, pipeline.schedules, now_ms=now_ms
                )
                warnings += _dropped_warnings(pipeline.name, dropped)
                tx.touch(Change.SCHEDULES)
            return _Stored(put=put, warnings=warnings)

        stored = await self._writer.write(work)
        stored.warnings.extend(self._kind_warnings(pipeline))
        return stored

    def _kind_warnings(self, pipeline: Pipeline) -> list[Problem]:
        return kind_warnings(pipeline, [worker.kinds for worker in self._crew.workers()])


def _dropped_warnings(name: str, dropped: int) -> list[Problem]:
    """What waited for an earlier run, and will not start: its schedule is gone or disabled."""
    if not dropped:
        return []
    LOG.info("schedule.dropped", pipeline=name, count=dropped, reason="gone or disabled now")
    message = f"{dropped} planned runs that waited will not start: they are of schedules that "
    return [Problem(path="schedules", message=f"{message}are gone, or disabled, now")]


def _warnings(who: Caller, conn: Connection, pipeline: Pipeline) -> list[Problem]:
    """What it will not start; raises `Forbidden` where the caller may not store that."""
    targets = targets_of(pipeline)
    if not targets:
        return []
    owners = catalog.owners(conn, [pipeline.name, *(target.pipeline for target in targets)])
    check_targets(who, targets, owners)
    owner = owners.setdefault(pipeline.name, who.client_id)  # Once it is stored.
    return ownership.target_warnings(targets, owners, clients.standing(conn, owner))
