"""Decides how a run's stages and its jobs in time are drawn."""

from control.model.api.views import AttemptView, JobView, RunView
from control.model.states import Outcome, State
from tests.tui.hostile import drawn
from tests.tui.samples import NOW, a_job, a_run, a_stage, at
from tui.panes.gantt import gantt
from tui.panes.stages import stage_columns

FAILED = AttemptView(
    attempt=1,
    outcome=Outcome.FAILED,
    worker=None,
    partition=None,
    error=None,
    exit_code=1,
    log_bytes=0,
    started_at=at(-126),
    finished_at=at(-80),
)


def a_busy_run() -> tuple[RunView, list[JobView]]:
    jobs = [
        a_job(1, "clone", "checkout", ready=-252, started=-252, finished=-243),
        a_job(2, "api", "build", ready=-243, started=-240, finished=-178),
        a_job(3, "web", "build", ready=-243, started=-240, finished=-128),
        *(
            a_job(10 + each, f"unit-{each:02}", "test", ready=-128, started=-126, finished=-104)
            for each in range(20)
        ),
        a_job(40, "e2e-chrome", "test", ready=-128, started=-126),
        a_job(42, "e2e-safari", "test", ready=-48, attempt=2, attempts=[FAILED]),
        a_job(44, "lint", "test", ready=-128, started=-125, finished=-113, state=State.ERROR),
        a_job(60, "promote", "publish"),
    ]
    counts: dict[str, dict[State, int]] = {}
    for job in jobs:
        of_stage = counts.setdefault(job.stage, {})
        of_stage[job.state] = of_stage.get(job.state, 0) + 1
    stages = [a_stage(name, found) for name, found in counts.items()]
    return a_run(stages=stages, expected_seconds=60.0), jobs


def test_gantt() -> None:
    run, jobs = a_busy_run()
    assert drawn(gantt(run, jobs, 80, 9, now_ms=NOW, selected=40)) == [
        "              0s                 2m                 now│                   took",
        " clone      ◆ █                                                          9.0s ✓",
        " api           ███████████                                              1m02s ✓",
        " web        ◆  ███████████████████                                      1m52s ✓",
        " unit ×20                         ▒███                                  22.0s ✓",
        " e2e-chrome ◆                     █████████████████████▸               2m06s… ●",
        " e2e-safari                       ▓▓▓▓▓▓▓✗░░░░░░░░░░░░░▸          ready 48.0s ○",
        " lint                             █✗                                    12.0s ✗",
        " promote                                                                waits ○",
    ]


def test_the_selected_job_is_among_the_rows() -> None:
    run, jobs = a_busy_run()
    for job in jobs:
        told = drawn(gantt(run, jobs, 118, 5, now_ms=NOW, selected=job.id))
        assert len(told) == 5
        assert any(row.startswith(f" {job.name} ") for row in told)
        assert "more rows" in told[-1]
        columns = drawn(stage_columns(run, jobs, 60, 6, selected_job=job.id, now_ms=NOW))
        assert any(f"▸{sign} {job.name}" in row for row in columns for sign in "○●✓✗⊘")


def test_an_ended_run_has_no_now() -> None:
    jobs = [a_job(1, "clone", "build", ready=-250, started=-200, finished=-52)]
    run = a_run(finished_at=at(-52), state=State.DONE)
    told = "\n".join(drawn(gantt(run, jobs, 78, 9, now_ms=NOW, selected=None)))
    assert "now" not in told
    assert "▸" not in told
    assert "░█" in told


def test_nothing_is_known_yet() -> None:
    run = a_run(stages=[])
    assert "no jobs are known" in drawn(gantt(run, [], 78, 9, now_ms=NOW, selected=None))[0]
    assert gantt(run, [], 78, 0, now_ms=NOW, selected=None) == []
    lines = stage_columns(run, [], 78, 9, selected_job=None, now_ms=NOW)
    assert "no stages are known" in drawn(lines)[0]
    assert stage_columns(run, [], 78, 0, selected_job=None, now_ms=NOW) == []


def test_stages_side_by_side() -> None:
    run, jobs = a_busy_run()
    told = drawn(stage_columns(run, jobs, 96, 7, selected_job=40, now_ms=NOW))
    assert told == [
        "╭─ 1 checkout ✓ 9.0s ──╮╭─ 2 build ✓ 1m52s ────╮╭─ 3 test ✗ 2m06s ─────╮"
        "╭─ 4 publish ○ ────────╮",
        "│ ✓ clone          9.0s││ ✓ api           1m02s││ ✓ unit ×20      22.0s│"
        "│ ○ promote            │",
        "│                      ││ ✓ web           1m52s││▸● e2e-chrome    2m06s│"
        "│                      │",
        "│                      ││                      ││ ○ e2e-safari  try 2/3│"
        "│                      │",
        "│                      ││                      ││ ✗ lint          12.0s│"
        "│                      │",
        "│                      ││                      ││                      │"
        "│                      │",
        "╰──────────────────────╯╰──────────────────────╯╰──────────────────────╯"
        "╰──────────────────────╯",
    ]


def test_more_stages_than_fit() -> None:
    run, jobs = a_busy_run()
    told = drawn(stage_columns(run, jobs, 50, 5, selected_job=3, now_ms=NOW))
    assert "2 build" in told[0]
    assert "4 publish" not in told[0]
    assert told[-1] == "╰───────────────────────╯╰───────────────── 2 \u203a ─╯"
    told = drawn(stage_columns(run, jobs, 50, 5, selected_job=60, now_ms=NOW))
    assert told[-1] == "╰─ \u2039 2 ─────────────────╯╰───────────────────────╯"
