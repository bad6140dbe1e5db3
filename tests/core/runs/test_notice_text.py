"""Decides what a notice says about a run, and that jobs' texts are nothing but text in it."""

from control.core.runs.notice_text import EndedRun, FailedJob, notice
from control.model import limits
from control.model.numbers import JobId, RunId
from control.model.states import State

FIRST = FailedJob(
    job_id=JobId(99),
    name="pull-orders",
    attempt=3,
    error="the command ended with exit code 1",
    exit_code=1,
    log=b"connecting\n\n\x1b[31mno route to host\x1b[0m\n",
)


def test_a_failed_run() -> None:
    run = EndedRun(
        run_id=RunId(42),
        pipeline="nightly-report",
        state=State.ERROR,
        seconds=200.4,
        reason="job pull-orders failed",
        scheduled_for="2026-01-31T03:00:00.000Z",
        failed=2,
        first=FIRST,
    )
    assert notice(run) == (
        "nightly-report: ERROR (run 42)",
        """\
Run 42 of nightly-report: ERROR after 3m20s.
It was scheduled for 2026-01-31T03:00:00.000Z.
Reason: job pull-orders failed

Job pull-orders (attempt 3, exit code 1), the first of 2 that failed:
  the command ended with exit code 1
Its log ends with:
  connecting
  no route to host

tpctl run show 42
tpctl job logs 99""",
    )


def test_a_run_that_is_done() -> None:
    run = EndedRun(
        run_id=RunId(7), pipeline="ci", state=State.DONE, seconds=0.5, allowed_failures=1
    )
    assert notice(run) == (
        "ci: DONE (run 7)",
        "Run 7 of ci: DONE after 0.50s.\nAllowed failures: 1.\n\ntpctl run show 7",
    )


def test_only_the_end_of_a_log_is_shown_and_long_lines_are_cut() -> None:
    log = "".join(f"line {number} {'x' * 300}\n" for number in range(50)).encode()
    first = FIRST._replace(log=log, exit_code=None, error="e" * 5_000)
    run = EndedRun(
        run_id=RunId(1), pipeline="ci", state=State.ERROR, seconds=1, failed=1, first=first
    )
    body = notice(run).body
    assert "Job pull-orders (attempt 3):" in body
    lines = [line for line in body.splitlines() if line.startswith("  line")]
    assert [line.split()[1] for line in lines] == [str(number) for number in range(40, 50)]
    assert all(len(line) == 2 + limits.NOTICE_LINE_CHARS_MAX for line in lines)
    assert len(body) < limits.NOTICE_ERROR_CHARS_MAX + 3_000


def test_hostile_text_stays_text() -> None:
    first = FIRST._replace(error="a\nSubject: b\x1b[2J\u202e", log=b"\x1b]0;title\x07\xff\rfake\n")
    run = EndedRun(
        run_id=RunId(1), pipeline="ci", state=State.ERROR, seconds=1, failed=1, first=first
    )
    body = notice(run).body
    assert "  a Subject: b\\x1b[2J\\u202e\n" in body
    assert not any(character in body for character in "\x1b\x07\r\u202e")
    assert "Its log ends" not in notice(run._replace(first=first._replace(log=b"\n \n"))).body
