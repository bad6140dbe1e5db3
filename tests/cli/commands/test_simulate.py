"""Checks what-if where a server tells nothing: by a file, and by what the options say."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import duckdb
import msgspec
import pytest

from tests.cli.calling import Tpctl

NOWHERE = ("--url", "http://127.0.0.1:1")
DAY_MS = 86_400_000
# Two days of a job each 100 s that takes 150 s, on one slot: they pile up.
FACTS = f"""
    SELECT
        n AS run_id, n AS job_id, 1 AS attempt, 'p' || n % 2 AS pipeline, 'only' AS job,
        's' AS stage, 'ann' AS client, 'done' AS outcome, true AS final,
        1_795_000_000_000 + n * 100_000 AS ready_ms,
        1_795_000_000_000 + n * 100_000 + 1 AS finished_ms, 150.0 AS duration_seconds
    FROM range({2 * DAY_MS // 100_000}) AS numbers (n)
"""


@pytest.fixture(params=["parquet", "csv", "json"])
def facts(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    file = tmp_path / f"facts.{request.param}"
    with duckdb.connect() as conn:
        conn.execute(f"COPY ({FACTS}) TO '{file}' (FORMAT {request.param})")
    return file


def test_a_file_is_played_without_a_server(tpctl: Tpctl, facts: Path) -> None:
    farm = ("--workers", "1", "--slots", "1")
    shown = tpctl("simulate", "--file", facts, *NOWHERE, *farm, "--slow", "50", "-o", "json")
    assert shown.code == 0, shown.err
    assert "without what the server has now" in shown.err
    assert shown.row["jobs"] == DAY_MS // 100_000  # The newest fact ends the window.
    now, then = shown.row["now"], shown.row["what_if"]
    assert isinstance(now, dict)
    assert isinstance(then, dict)
    assert (now["slots"], now["slow"], then["slow"]) == (1, 60.0, 50.0)
    late = now["late"]
    assert isinstance(late, int)
    assert late > 800
    table = tpctl("simulate", "--file", facts, *NOWHERE, *farm, "--window", "1h", "--late", "50s")
    assert table.code == 2  # Seconds are a number here.
    table = tpctl("simulate", "--file", facts, *NOWHERE, *farm, "--window", "1h", "--late", "50")
    assert "late: waited over 50.0s" in table.out
    assert "pipelines with the most late jobs" in table.out


def test_without_a_farm_it_says_what_to_give(tpctl: Tpctl, facts: Path) -> None:
    shown = tpctl("simulate", "--file", facts, *NOWHERE, "--workers", "1")
    assert (shown.code, shown.out) == (2, "")
    assert "give --workers and --slots" in shown.err


def test_a_history_in_which_nothing_ran_is_told(tpctl: Tpctl, tmp_path: Path) -> None:
    file = tmp_path / "facts.parquet"
    with duckdb.connect() as conn:
        conn.execute(f"COPY ({FACTS} LIMIT 0) TO '{file}' (FORMAT parquet)")
    shown = tpctl("simulate", "--file", file, *NOWHERE)
    assert (shown.code, shown.out) == (0, "")
    assert "there is nothing to play" in shown.err
    told = tpctl("simulate", "--file", file, *NOWHERE, "-o", "json")
    assert (told.code, told.row) == (0, {"jobs": 0, "now": None, "what_if": None})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("facts.csv", "a,b\n1,2\n"),
        ("facts.parquet", "PAR1"),
        ("facts.json", "{"),
    ],
)
def test_what_is_no_file_of_facts_is_refused(
    tpctl: Tpctl, tmp_path: Path, name: str, text: str
) -> None:
    file = tmp_path / name
    file.write_text(text)
    shown = tpctl("simulate", "--file", file, *NOWHERE)
    assert (shown.code, shown.out) == (2, "")
    assert "is no file of facts" in shown.err


def test_an_outcome_that_nobody_knows_is_refused(tpctl: Tpctl, tmp_path: Path) -> None:
    file = tmp_path / "facts.csv"
    with duckdb.connect() as conn:
        odd = FACTS.replace("'done'", "'odd'")
        conn.execute(f"COPY ({odd}) TO '{file}' (FORMAT csv)")
    assert tpctl("simulate", "--file", file, *NOWHERE).code == 2


# What any call may be answered with: a list, the rules, and why it is refused.
SAID = {
    "items": [{"state": "connected", "slots": 2}],
    "next_cursor": None,
    "slow": 60,
    "slow_auto": False,
    "threshold_seconds": 30,
    "threshold_auto": True,
    "lend": True,
    "detail": "not today",
}


class Refusing(HTTPServer):
    """A server that has one worker, takes a split, and answers what a test says to some calls."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.statuses: dict[str, int] = {}
        self.was_set = False


class _Answer(BaseHTTPRequestHandler):
    server: Refusing

    def do_GET(self) -> None:
        status = self.server.statuses.get(self.path.partition("?")[0], 200)
        self._say(status, msgspec.json.encode(SAID))

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.server.was_set = True
        self._say(200, b'{"slow": 30}')

    def _say(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - Its name there.
        """Nobody reads it."""


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Refusing]:
    with Refusing() as server:
        monkeypatch.setenv("TP_URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("TP_CLIENT_ID", "ann")
        monkeypatch.setenv("TP_CLIENT_SECRET", "s")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("status", [403, 404, 503])
def test_a_file_is_played_where_a_server_refuses(
    tpctl: Tpctl, refusing: Refusing, facts: Path, status: int
) -> None:
    refusing.statuses = {"/v1/partitions/split": status}
    options = ("--window", "1h", "--workers", "2", "--slots", "1", "-o", "json")
    shown = tpctl("simulate", "--file", facts, *options)
    assert shown.code == 0, shown.err
    assert "without what the server has now: not today" in shown.err
    assert shown.row["jobs"] == 36
    assert tpctl("simulate", "--file", facts).code == 2
    assert tpctl("simulate").code != 0


@pytest.mark.parametrize(
    ("path", "status"), [("/v1/partitions/split", 503), ("/v1/stats/export", 404)]
)
def test_a_split_is_set_where_nothing_can_be_foretold(
    tpctl: Tpctl, refusing: Refusing, path: str, status: int
) -> None:
    refusing.statuses = {path: status}
    shown = tpctl("partition", "split", "--slow", "30", "--yes", "-o", "json")
    assert shown.code == 0, shown.err
    assert refusing.was_set
    assert "no forecast: not today" in shown.err
    assert shown.row == {"slow": 30, "forecast": None}


@pytest.mark.parametrize("slow", ["0.6", "0.999%"])
def test_a_part_of_one_is_not_taken_for_percent(
    tpctl: Tpctl, refusing: Refusing, slow: str
) -> None:
    for asked in (("partition", "split", "--yes"), ("simulate",)):
        shown = tpctl(*asked, "--slow", slow)
        assert (shown.code, shown.out) == (2, "")
        assert "did you mean" in shown.err
    assert "60" in tpctl("simulate", "--slow", "0.6").err
    assert not refusing.was_set
