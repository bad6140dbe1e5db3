"""Owns the kind `Query`: one SQL statement over a connection of the worker's config."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final

import msgspec
from msgspec import Meta, Raw

from control.model import limits
from control.model.clock import system_clock
from control.model.errors import JobFailed
from control.model.kinds import Job, Kind, Reporter, Result
from control.model.surroundings.base import Code, Surroundings
from control.model.worker_settings import WorkerSettings
from workers.kinds.addresses import hide, unknown
from workers.kinds.query.connections import database
from workers.kinds.query.output import Answer, details, read
from workers.kinds.query.running import Running
from workers.kinds.query.session import Session
from workers.kinds.query.statement import Statement

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
    wants_directory: ClassVar[bool] = True  # DuckDB writes there what exceeds its memory.

    def __init__(self) -> None:
        self._settings = WorkerSettings()
        self._steady_ms = system_clock().steady_ms

    def configure(self, settings: WorkerSettings) -> None:
        """Take the connections of the worker's config."""
        self._settings = settings

    async def run(self, job: Job, params: QueryParams, report: Reporter) -> Result:
        """Execute the statement; when cancelled, the server cancels it too."""
        connections = self._settings.connections
        address = connections.get(params.connection)
        if address is None:
            raise unknown("connection", params.connection, connections)
        label = f"taskplane run {job.run_id} job {job.job_id} attempt {job.attempt}"
        goal = database(params.connection, address, label, job.directory)
        statement = Statement(params.sql, params.parameters)
        seconds = 0.0
        sent: Statement | None = None

        def use(session: Session) -> Answer:
            nonlocal seconds, sent
            sent = statement
            began_ms = self._steady_ms()
            answer = read(session.execute(statement), params.limit)
            session.finish(truncated=answer.truncated)
            seconds = (self._steady_ms() - began_ms) / 1000
            return answer

        try:
            answer = await Running(goal.open, use).run(report.progress)
        except JobFailed:
            raise
        except Exception as error:
            failure = goal.kind.failure(error, sent)
            if failure is None:
                raise
            what = "the statement failed" if sent else f"no connection to {params.connection}"
            more = details(params.connection, params.sql, Answer(row_count=None), 0.0)
            raise JobFailed(
                hide(f"{what}: {failure}", goal.secrets),
                final=failure.final,
                details=Raw(msgspec.json.encode(more)),
            ) from None  # The driver's error may have values and passwords in it.
        await report.log(_summary(params.connection, answer, seconds))
        more = details(params.connection, params.sql, answer, seconds)
        return Result(
            output=Raw(msgspec.json.encode(answer)), details=Raw(msgspec.json.encode(more))
        )


def _summary(connection: str, answer: Answer, seconds: float) -> str:
    count = "an unknown number of" if answer.row_count is None else answer.row_count
    what = "rows" if answer.columns else "rows changed"
    cut = "; there are more, which the output lacks" if answer.truncated else ""
    return f"{connection}: {count} {what} in {seconds:.3f} s{cut}\n"
