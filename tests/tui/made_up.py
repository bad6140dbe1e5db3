"""Owns the made-up system of the pictures as a control plane that says nothing more by itself."""

from typing import Any

from textual.pilot import Pilot

from bench.shots import fleet
from bench.shots import runs as made_runs
from control.model.api.views import Page
from tests.tui.samples import a_schedule, some_counts
from tests.tui.sources import Canned, drawn, press, snapshot, until
from tui.app import Console
from tui.screens.base_view import View


def made_up() -> Canned:
    """The made-up system, as a server would tell of it."""
    runs = made_runs.runs()[:40]
    frame = snapshot(
        runs=list(reversed(runs)),
        counts=some_counts(),
        workers=fleet.workers(),
        partitions=fleet.partitions(),
    )
    return Canned(
        frame,
        answers={
            "/v1/queues": fleet.queues(),
            "/v1/runs": Page(items=runs),
            "/v1/schedules": Page(items=[a_schedule(7), a_schedule(8, paused=True)]),
            "/v1/schedules/plan": Page(items=[]),
        },
    )


async def opened(app: Console, pilot: Pilot[Any], key: str) -> View:
    """Open a view, and see it drawn."""
    await until(pilot, lambda: app.store.frame_ms is not None)
    await press(pilot, key)
    await until(pilot, lambda: app.screen.is_mounted)
    await drawn(app, pilot)
    assert isinstance(app.screen, View)
    return app.screen


def as_text(lines: list[str]) -> str:
    """Lines in one piece."""
    return "\n".join(lines)
