"""Puts the calls together: each operation becomes a route that lets in, answers, or refuses."""

import re
import traceback
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import structlog
import trio
from litestar import Litestar, Request, Response
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse
from litestar.types import ControllerRouterHandler

from control.api.auth.permissions import ROLES, check_role
from control.api.endpoints.access import AccessCalls
from control.api.endpoints.doctor import DoctorCalls
from control.api.endpoints.forecast import ForecastCalls
from control.api.endpoints.jobs import JobCalls
from control.api.endpoints.pipelines import PipelineCalls
from control.api.endpoints.queues import QueueCalls
from control.api.endpoints.runs import RunCalls
from control.api.endpoints.schedule_plan import SchedulePlanCalls
from control.api.endpoints.schedules import ScheduleCalls
from control.api.endpoints.split import SplitCalls
from control.api.endpoints.start_runs import StartRunCalls
from control.api.endpoints.stats import StatsCalls
from control.api.endpoints.workers import EVENTS_PATH, WorkerCalls
from control.api.http import problems
from control.api.http.openapi import document
from control.api.http.request import GET, ApiResponse, Call, Operation, Route
from control.api.http.shares import ANSWERS
from control.api.http.streaming import Streamed
from control.api.live.broadcaster import Events
from control.api.live.projection import Live
from control.api.live.websocket import socket_handler
from control.api.metrics import Metrics
from control.api.ports import Parts
from control.core.fair_use.rates import network_of
from control.model import limits
from control.model.errors import NotFound, TaskplaneError

LOG = structlog.get_logger("api")
_PARAMETER: Final = re.compile(r"\{(\w+)\}")
_Refusal = Callable[[Request[Any, Any, Any], Exception], Response[bytes]]

OPENAPI: Final = Operation(
    method="GET",
    path="/schema/openapi.json",
    name="openapi",
    summary="This document",
    tag="system",
    answer=dict[str, Any],
)


def all_routes(
    parts: Parts, live: Live, events: Events, metrics: Metrics, version: str
) -> list[Route]:
    """Every call there is, with who carries it out."""
    routes = [
        *_of_runs(parts, live),
        *_of_schedules(parts),
        *_of_the_system(parts, live, events, metrics, version),
    ]
    written = document([*(route.operation for route in routes), OPENAPI], version)

    async def describe(call: Call) -> ApiResponse:
        del call
        await trio.lowlevel.checkpoint()
        return ApiResponse(body=written)

    return [*routes, Route(OPENAPI, describe)]


def _of_runs(parts: Parts, live: Live) -> list[Route]:
    return [
        *PipelineCalls(
            reader=parts.reader,
            writer=parts.writer,
            kinds=parts.kinds,
            clock=parts.clock,
            fair=parts.fair,
            crew=live.crew,
        ).routes(),
        *StartRunCalls(
            reader=parts.reader,
            writer=parts.writer,
            ledger=parts.ledger,
            views=parts.views,
            kinds=parts.kinds,
            clock=parts.clock,
            fair=parts.fair,
        ).routes(),
        *RunCalls(
            reader=parts.reader,
            writer=parts.writer,
            ledger=parts.ledger,
            views=parts.views,
            balancing=parts.balancing,
            logs=parts.logs,
            clock=parts.clock,
        ).routes(),
        *JobCalls(
            reader=parts.reader,
            writer=parts.writer,
            ledger=parts.ledger,
            views=parts.views,
            balancing=parts.balancing,
            logs=parts.logs,
            clock=parts.clock,
            fair=parts.fair,
        ).routes(),
    ]


def _of_schedules(parts: Parts) -> list[Route]:
    return [
        *ScheduleCalls(
            reader=parts.reader,
            writer=parts.writer,
            ledger=parts.ledger,
            views=parts.views,
            offload=parts.offload,
            balancing=parts.balancing,
            clock=parts.clock,
        ).routes(),
        *SchedulePlanCalls(
            reader=parts.reader, views=parts.views, balancing=parts.balancing, clock=parts.clock
        ).routes(),
        *ForecastCalls(
            reader=parts.reader,
            views=parts.views,
            offload=parts.offload,
            balancing=parts.balancing,
            clock=parts.clock,
        ).routes(),
    ]


def _of_the_system(
    parts: Parts, live: Live, events: Events, metrics: Metrics, version: str
) -> list[Route]:
    return [
        *WorkerCalls(
            reader=parts.reader,
            writer=parts.writer,
            bus=parts.bus,
            balancing=parts.balancing,
            health=parts.health,
            clock=parts.clock,
            fair=parts.fair,
            live=live,
            events=events,
            metrics=metrics,
            version=version,
        ).routes(),
        *SplitCalls(writer=parts.writer, balancing=parts.balancing).routes(),
        *QueueCalls(balancing=parts.balancing).routes(),
        *DoctorCalls(health=parts.health).routes(),
        *StatsCalls(reports=parts.reports, clock=parts.clock, fair=parts.fair).routes(),
        *AccessCalls(
            reader=parts.reader,
            writer=parts.writer,
            gate=parts.gate,
            clock=parts.clock,
            fair=parts.fair,
            random_bytes=parts.random_bytes,
            note_rotated=parts.note_rotated,
        ).routes(),
    ]


def make_app(routes: Sequence[Route], parts: Parts, events: Events, metrics: Metrics) -> Litestar:
    """The ASGI application."""
    handlers: list[ControllerRouterHandler] = [
        _http_handler(route, parts, metrics, events.closing) for route in routes
    ]
    handlers.append(socket_handler(parts, events, EVENTS_PATH))
    return Litestar(
        route_handlers=handlers,
        exception_handlers={Exception: _refuser(metrics)},
        request_max_body_size=limits.BODY_BYTES_MAX,
        openapi_config=None,
        logging_config=None,
    )


def _http_handler(
    route: Route, parts: Parts, metrics: Metrics, closing: trio.Event
) -> HTTPRouteHandler:
    operation = route.operation
    allowed = ROLES[operation.method, operation.path]
    reserved = ANSWERS.get((operation.method, operation.path), 0)

    async def handle(request: Request[Any, Any, Any]) -> ASGIResponse:
        who, address = None, network_of(request.client.host if request.client else "")
        if allowed is not None:
            who = await parts.gate.identify(request.headers.get("authorization"), address)
            check_role(who, allowed)
        call = Call(request, who, operation, parts.fair, address)
        if operation.method != GET:
            call.check_media()
        if reserved:
            await call.hold(parts.fair.answers, reserved)
        answer = await route.handler(call)
        response = _response(answer, operation, closing)
        response.is_head_response = call.headers_only
        metrics.answered(operation.method, operation.path, response.status_code)
        return response

    made = HTTPRouteHandler(
        _paths(operation.path),
        http_method=operation.methods,  # type: ignore[arg-type]  # A Literal there, text here.
        name=operation.name,
        opt={"path": operation.path},
        status_code=200,  # Each answer says its own.
        include_in_schema=False,
    )
    return made(handle)


def _paths(path: str) -> list[str]:
    """The paths as the router wants them.

    It does not look back once a word has matched, so a pipeline that is called `validate` (there
    is a call of that name beside the pipelines) needs paths of its own.
    """
    paths = [_PARAMETER.sub(r"{\1:str}", path)]
    if path.startswith("/v1/pipelines/{name}"):
        paths.append(_PARAMETER.sub(r"{\1:str}", path.replace("{name}", "validate", 1)))
    return paths


def _response(answer: ApiResponse, operation: Operation, closing: trio.Event) -> ASGIResponse:
    if answer.stream is not None:
        return Streamed(answer.stream, closing, operation.media)
    status, headers = answer.status or operation.status, dict(answer.headers)
    if operation.answer is None:
        return ASGIResponse(status_code=status, headers=headers)
    body = answer.body if isinstance(answer.body, bytes) else msgspec.json.encode(answer.body)
    headers["content-type"] = operation.media
    return ASGIResponse(body=body, status_code=status, headers=headers)


def _refuser(metrics: Metrics) -> _Refusal:
    def refuse(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
        headers: dict[str, str] = {}
        if isinstance(error, HTTPException):
            headers = {
                name: value
                for name, value in (error.headers or {}).items()
                if name.lower() == "allow"
            }
            error = _translated(error)
        if isinstance(error, TaskplaneError):
            shown = problems.details(error)
            headers |= problems.headers(error)
        else:
            shown = problems.UNEXPECTED
        if shown.status == problems.UNEXPECTED.status:
            LOG.error(
                "request.failed",
                method=request.method,
                path=request.url.path,
                error="".join(traceback.format_exception(error)),
            )
        metrics.answered(request.method, _path_of(request), shown.status)
        return Response(
            msgspec.json.encode(shown),
            status_code=shown.status,
            headers=headers,
            media_type=problems.MEDIA,
        )

    return refuse


def _path_of(request: Request[Any, Any, Any]) -> str:
    """The route's path; what fits no route is not counted by its own, which could be anything."""
    scope: dict[str, Any] = dict(request.scope)
    handler = scope.get("route_handler")
    return str(handler.opt.get("path", "")) if isinstance(handler, HTTPRouteHandler) else ""


def _translated(error: HTTPException) -> Exception:
    """What the framework refuses, as an error of ours."""
    known: dict[int, tuple[type[TaskplaneError], str]] = {
        400: (problems.Malformed, "the request cannot be read"),
        404: (NotFound, "there is nothing at this path"),
        405: (problems.MethodNotAllowed, "there is something here, but not for this method"),
        413: (problems.TooLarge, f"more than {limits.BODY_BYTES_MAX} bytes"),
    }
    if error.status_code not in known:
        return error
    made, message = known[error.status_code]
    return made(message)
