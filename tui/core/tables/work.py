"""Decides what the columns of the lists of work are: runs, waiting groups, tasks."""

from collections.abc import Sequence
from typing import Final

from control.model.api.queues import WaitingGroup
from control.model.api.reports import TaskStats
from control.model.api.views import RunView
from control.model.states import FINAL, Speed, State
from tui.core.formatting import brief, clock, count, moved, part, roughly
from tui.core.spans import Look, Span, bar, trend
from tui.core.state_symbols import done_of, ends_of, look_of, sign, stage_signs
from tui.core.tables.rows import Key, TableColumn, figure, length
from tui.core.timestamps import between, instant, run_seconds

_GROWN: Final = 0.25
_DOUBLED: Final = 1.0


class ServerTime:
    """What time it is at the server: set before rows are drawn, read by their cells."""

    def __init__(self) -> None:
        self.now_ms = 0

    def since_s(self, at: str | None) -> float | None:
        """Seconds since an instant; None: there is none."""
        return between(instant(at), None, self.now_ms)


def time_of(at: str) -> str:
    """The time of day of an instant."""
    at_ms = instant(at)
    return "–" if at_ms is None else clock(at_ms)


def runs(time: ServerTime) -> Sequence[TableColumn[RunView]]:
    """The columns of a list of runs."""

    def lasted(run: RunView) -> float | None:
        return run_seconds(run, time.now_ms)

    def done(run: RunView) -> str:
        ended, whole = done_of(run)
        if run.state in FINAL:
            ended = sum(stage.counts.get(State.DONE, 0) for stage in run.stages)
        return f"{brief(ended)}/{brief(whole)}"

    def progress(run: RunView) -> str:
        ended, whole = done_of(run)
        return (
            ends_of(run) if run.state in FINAL or not whole else bar(ended / whole, 9, track=True)
        )

    def eta(run: RunView) -> str:
        if run.state in FINAL:
            return ""
        return "?" if run.expected_seconds is None else roughly(run.expected_seconds)

    def stages(run: RunView) -> Span:
        return "".join(text for text, _ in stage_signs(run)), look_of(run.state)

    def named(run: RunView) -> str:
        return run.pipeline + ("" if run.revision is None else f"@{run.revision}")

    return (
        TableColumn("", 1, lambda run: sign(run.state), field="state", value=lambda run: run.state),
        figure("RUN", 7, lambda run: run.id, align="left"),
        TableColumn("PIPELINE@REV", 0, named, field="pipeline"),
        TableColumn("CLIENT", 9, lambda run: run.client),
        TableColumn("TRIGGER", 8, lambda run: run.trigger.value),
        figure("PRIO", 4, lambda run: run.priority),
        TableColumn("STAGES", 7, stages),
        figure("JOBS", 9, lambda run: done_of(run)[1], done, align="left"),
        figure("DONE", 9, lambda run: _part(*done_of(run)), progress, align="left"),
        length("TOOK", 7, lasted),
        length("ETA", 5, lambda run: run.expected_seconds, eta),
        figure(
            "CREATED", 8, lambda run: instant(run.created_at), lambda run: time_of(run.created_at)
        ),
        TableColumn("SCHEDULED FOR", 24, lambda run: run.scheduled_for or "–", wide=True),
        TableColumn("FINISHED", 24, lambda run: run.finished_at or "–", wide=True),
        TableColumn("REASON", 0, lambda run: (run.reason, look_of(run.state))),
    )


def _part(ended: int, whole: int) -> float | None:
    return ended / whole if whole else None


def is_faulty_run(run: RunView) -> bool:
    """Whether a run is one to look at."""
    return run.state == State.ERROR or run.allowed_failures > 0


def group_key(group: WaitingGroup) -> Key:
    """What a group of waiting jobs is known by."""
    return "\n".join((group.reason, group.client, group.pipeline, group.job))


def groups() -> Sequence[TableColumn[WaitingGroup]]:
    """The columns of what the balancer has not placed."""
    return (
        figure("JOBS", 6, lambda group: group.jobs, lambda group: count(group.jobs)),
        TableColumn("CLIENT", 8, lambda group: group.client),
        figure("PRIO", 4, lambda group: group.order[0]),
        figure("RUN", 7, lambda group: group.run_id, align="left"),
        TableColumn(
            "PIPELINE / STAGE / JOB",
            0,
            lambda group: f"{group.pipeline} / {group.stage} / {group.job}",
            field="pipeline",
        ),
        TableColumn("CLASS", 5, lambda group: speed(group.speed)),
        length("EXPECTED", 8, lambda group: group.expected_seconds),
        length("READY", 6, lambda group: group.ready_seconds),
        figure("JOB", 8, lambda group: group.job_id, align="left", wide=True),
        TableColumn(
            "ORDER", 14, lambda group: ".".join(str(each) for each in group.order), wide=True
        ),
        TableColumn("WHY NOT YET", 0, lambda group: group.reason, field="reason"),
    )


def look_of_speed(value: Speed) -> Look:
    """The role of whatever tells this class."""
    return "fast" if value == Speed.FAST else "slow"


def speed(value: Speed) -> Span:
    """A class, as it is shown."""
    return (value.value, look_of_speed(value))


def tasks() -> Sequence[TableColumn[TaskStats]]:
    """The columns of where the slots' time goes."""

    def delta(task: TaskStats) -> Span:
        if task.p95_delta is None or not task.p95_before:
            return ("new", "dim")
        grown = task.p95_delta / task.p95_before
        look: Look = "bad" if grown > _DOUBLED else "warn" if grown > _GROWN else ""
        return (moved(grown), look)

    def errors(task: TaskStats) -> Span:
        return (part(task.error_rate), "bad" if task.error_rate else "")

    return (
        TableColumn(
            "PIPELINE / JOB", 0, lambda task: f"{task.pipeline}/{task.job}", field="pipeline"
        ),
        TableColumn("KIND", 8, lambda task: task.kind),
        TableColumn("CLASS", 5, lambda task: speed(task.speed)),
        figure("N", 6, lambda task: task.n, lambda task: count(task.n)),
        length("MEAN", 7, lambda task: task.mean, wide=True),
        length("P50", 7, lambda task: task.p50),
        length("P95", 7, lambda task: task.p95),
        length("P99", 7, lambda task: task.p99),
        length("MAX", 7, lambda task: task.max),
        TableColumn("P95 OVER TIME", 16, lambda task: trend(task.trend, 16), field="trend"),
        TableColumn("", 7, lambda task: bar(task.share, 7), field="share_bar"),
        figure("SHARE", 6, lambda task: task.share, lambda task: part(task.share)),
        length("Δ", 6, lambda task: task.p95_delta, delta, field="p95_delta"),
        figure("ERR", 5, lambda task: task.error_rate, errors, field="error_rate"),
    )


def task_key(task: TaskStats) -> Key:
    """What a job of a pipeline is known by."""
    return f"{task.pipeline}\n{task.job}"
