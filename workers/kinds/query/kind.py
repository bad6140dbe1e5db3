"""Owns the kind `Query`: one SQL statement over a connection of the worker's config."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final

import msgspec
from msgspec import Meta, Raw

from control.model import limits
from control.model.errors import JobFailed
from control.model.kinds import Job, Kind, Reporter, Result
from control.model.surroundings.base import Code, Surroundings
from control.model.worker.settings import WorkerSettings
from workers.kinds.addresses import hide, unknown
from workers.kinds.query.connections import read_url, server_of
from workers.kinds.query.embedded import EmbeddedEngines
from workers.kinds.query.execution import Answered, Execution
from workers.kinds.query.output import QueryOutput, details
from workers.kinds.query.running import RunningSession
from workers.kinds.query.statement import Statement

if TYPE_CHECKING:
    from sqlalchemy import URL

_SQL: Final = Code(
    "what the database executes",
    "bind it: write :value here, and `parameters: {value: TEMPLATE}`",
)


class QueryParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which statement, and where."""

    connection: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=limits.NAME_CHARS_MAX,
            description="A connection of the worker's config, by its name.",
            examples=["sales"],
        ),
    ]
    sql: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=limits.PIPELINE_BYTES_MAX,
            description="One statement; :name is a parameter. Templates are refused here.",
            examples=["SELECT id, total FROM orders WHERE day = :day"],
        ),
    ]
    parameters: Annotated[
        dict[str, Any],
        Meta(
            description="Values of the parameters in sql; lists and objects are bound as JSON.",
            examples=[{"day": "2026-01-31"}],
        ),
    ] = {}
    limit: Annotated[
        int,
        Meta(
            ge=1,
            le=limits.OUTPUT_ROWS_MAX,
            description="How many rows the output has at most.",
            examples=[100],
        ),
    ] = limits.OUTPUT_ROWS_DEFAULT


class Query(Kind[QueryParams]):
    """Executes one statement; the output is its rows."""

    name: ClassVar[str] = "Query"
    version: ClassVar[str] = "1.0.0"
    summary: ClassVar[str] = "Execute one SQL statement; the output is its rows."
    params = QueryParams
    surroundings: ClassVar[Mapping[str, Surroundings]] = {"sql": _SQL}

    def __init__(self) -> None:
        self._settings = WorkerSettings()
        self._embedded = EmbeddedEngines()

    def configure(self, settings: WorkerSettings) -> None:
        """Take the connections of the worker's config."""
        self._settings = settings

    async def run(self, job: Job, params: QueryParams, report: Reporter) -> Result:
        """Execute the statement; when cancelled, it is cancelled, or its process killed."""
        connections = self._settings.connections
        address = connections.get(params.connection)
        if address is None:
            raise unknown("connection", params.connection, connections)
        url = read_url(params.connection, address)
        try:
            answered = await self._execute(url, job, params, report)
        except JobFailed as error:
            more = details(params.connection, params.sql, QueryOutput(row_count=None), 0.0)
            raise JobFailed(
                hide(str(error), (str(url.password),) if url.password else ()),
                final=error.final,
                details=Raw(msgspec.json.encode(more)),
            ) from None
        answer, seconds = answered.answer, answered.seconds
        await report.log(_summary(params.connection, answer, seconds))
        more = details(params.connection, params.sql, answer, seconds)
        return Result(
            output=Raw(msgspec.json.encode(answer)), details=Raw(msgspec.json.encode(more))
        )

    async def aclose(self) -> None:
        """End the processes of engines that wait for the next job."""
        await self._embedded.aclose()

    async def _execute(
        self, url: "URL", job: Job, params: QueryParams, report: Reporter
    ) -> Answered:
        label = f"taskplane run {job.run_id} job {job.job_id} attempt {job.attempt}"
        server = server_of(url, label)
        if server is None:
            arguments = msgspec.structs.asdict(params)
            return await self._embedded.execute(url, arguments, job, report)
        statement = Statement(params.sql, params.parameters)
        execution = Execution(params.connection, server.kind, statement, params.limit)
        with execution.in_words():
            return await RunningSession(server.open, execution.use).run()


def _summary(connection: str, answer: QueryOutput, seconds: float) -> str:
    count = "an unknown number of" if answer.row_count is None else answer.row_count
    what = "rows" if answer.columns else "rows changed"
    cut = "; there are more, which the output lacks" if answer.truncated else ""
    return f"{connection}: {count} {what} in {seconds:.3f} s{cut}\n"
