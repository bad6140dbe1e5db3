"""Owns how recorded attempts come here: the server's export, or a file of it, read with DuckDB."""

import tempfile
from pathlib import Path
from typing import Final

import duckdb

from control.cli.command_context import CommandContext
from control.cli.errors import UsageError
from control.core.simulation.replay_history import PastAttempt
from control.model.states import Outcome

_COLUMNS: Final = {
    "run_id": "BIGINT",
    "job_id": "BIGINT",
    "attempt": "BIGINT",
    "pipeline": "VARCHAR",
    "job": "VARCHAR",
    "stage": "VARCHAR",
    "client": "VARCHAR",
    "outcome": "VARCHAR",
    "final": "BOOLEAN",
    "ready_ms": "BIGINT",
    "duration_seconds": "DOUBLE",
    "finished_ms": "BIGINT",
}
# A name of digits only is a name all the same.
_READERS: Final = {
    "parquet": "read_parquet(?)",
    "csv": "read_csv(?, all_varchar = true)",
    "json": "read_json(?)",
}
_OUTCOMES: Final = {outcome.value: outcome for outcome in Outcome}


def download(session: CommandContext, window_ms: int) -> list[PastAttempt]:
    """The server's facts of jobs that became ready in the last so many milliseconds."""
    with tempfile.TemporaryDirectory(prefix="tpctl-") as directory:
        path = Path(directory) / "facts.parquet"
        query = {"format": "parquet", "window": f"{window_ms / 1000:g}s"}
        with (
            session.api.stream("/v1/stats/export", query, media="*/*") as pieces,
            path.open("wb") as file,
        ):
            for piece in pieces:
                file.write(piece)
        return _read(path, "parquet", window_ms, session.now_ms())


def read(path: Path, window_ms: int | None = None) -> list[PastAttempt]:
    """A file of facts, as far back from its newest one (None: all); raises `UsageError`."""
    form = path.suffix.lstrip(".").lower()
    if form not in _READERS:
        message = f"{path} is none of: {', '.join(f'.{known}' for known in _READERS)}"
        raise UsageError(message)
    if not path.is_file():
        message = f"cannot read {path}: there is no such file"
        raise UsageError(message)
    return _read(path, form, window_ms, None)


def _read(path: Path, form: str, window_ms: int | None, until_ms: int | None) -> list[PastAttempt]:
    """`until_ms`: where the window ends; None: at the newest fact."""
    facts = _READERS[form]
    try:
        with duckdb.connect(config={"autoinstall_known_extensions": False}) as conn:
            if until_ms is None:
                newest = f"SELECT max(finished_ms::BIGINT) FROM {facts}"
                row = conn.execute(newest, [str(path)]).fetchone()
                until_ms = int(row[0]) if row and row[0] is not None else 0
            columns = ", ".join(f"{name}::{kind}" for name, kind in _COLUMNS.items())
            recent = f"SELECT {columns} FROM {facts} WHERE ready_ms::BIGINT > ?"
            since_ms = 0 if window_ms is None else until_ms - window_ms
            rows = conn.execute(recent, [str(path), since_ms]).fetchall()
        return [_attempt(row) for row in rows]
    except (duckdb.Error, ValueError, KeyError) as error:
        why = str(error).partition("\n")[0]
        message = f"{path} is no file of facts as `tpctl stats export` writes it: {why}"
        raise UsageError(message) from error


def _attempt(row: tuple[object, ...]) -> PastAttempt:
    values = dict(zip(_COLUMNS, row, strict=True))
    values["outcome"] = _OUTCOMES[str(values["outcome"])]
    return PastAttempt(**values)  # type: ignore[arg-type]  # DuckDB gives what the columns are.
