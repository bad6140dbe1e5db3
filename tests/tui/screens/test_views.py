"""Decides how one goes from view to view, and that making them early changes nothing."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from textual.pilot import Pilot

from control.model.api.views import Page
from control.model.json_values import Json
from tests.tui.samples import a_partition, a_run, a_worker, at
from tests.tui.sources import Canned, Obedient, drawn, drive, press, snapshot, typed, until
from tui.app import Console
from tui.core.history import ViewHistory
from tui.widgets.prompt import Prompt
from tui.widgets.table import Table


def test_back_and_forward() -> None:
    history = ViewHistory("a")
    assert history.other is None
    assert history.step(-1) is None
    for name in "bcd":
        history.visit(name)
    assert [history.step(-1), history.step(-1), history.other] == ["c", "b", "a"]
    assert [history.step(-1), history.other, history.step(1)] == ["a", "b", "b"]
    assert history.step(1) == "c"
    history.visit("e")
    assert history.step(1) is None
    assert [history.step(-1) for _ in range(4)] == ["c", "b", "a", None]


def test_only_the_last_ones_are_kept() -> None:
    history = ViewHistory("a")
    for number in range(1_000):
        history.visit(str(number))
    back = 0
    while history.step(-1) is not None:
        back += 1
    assert back == 49


def test_views_that_are_made_early_change_nothing_on_the_screen(recording: Path) -> None:
    source = Obedient(recording)

    async def body(app: Console, pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: app.store.role is not None)
        before = await drawn(app, pilot)
        focused = app.focused
        for left in (4, 3, 2, 1, 0, 0):
            app.navigation.make_view()
            assert len(app.navigation.unmade) == left
        assert app.current_mode == "overview"
        assert app.focused is focused
        assert await drawn(app, pilot) == before
        await press(pilot, "5")
        await until(pilot, lambda: app.current_mode == "workers")
        assert "[5 Workers]" in "\n".join(await drawn(app, pilot))

    drive(source, body, now_ms=source.now_ms)


def test_nothing_is_made_under_a_dialog_or_while_something_is_typed(recording: Path) -> None:
    source = Obedient(recording)

    async def body(app: Console, pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: app.store.role is not None)
        await press(pilot, "ctrl+p")
        dialog = app.screen
        app.navigation.make_view()
        await pilot.pause()
        assert app.screen is dialog
        assert len(app.navigation.unmade) == 5
        await press(pilot, "escape", ":", "r")
        app.navigation.make_view()
        assert len(app.navigation.unmade) == 5
        await press(pilot, "u", "n")
        assert app.screen.query_one(Prompt).value == "run"

    drive(source, body, now_ms=source.now_ms)


def test_runs_of_a_shorter_time() -> None:
    ages_s = {1: 900_000, 2: 90_000, 3: 7_200, 4: 1_800, 5: 60}
    runs = [a_run(id=number, created_at=at(-age_s)) for number, age_s in ages_s.items()]
    source = Canned(snapshot(runs=runs), answers={"/v1/runs": Page(items=runs[::-1])})

    async def body(app: Console, pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: app.store.frame_ms is not None)
        await press(pilot, "4")
        await until(pilot, lambda: app.screen.query("#runs"))
        table = app.screen.query_one("#runs", Table)
        await drawn(app, pilot)
        seen = {}
        for _ in range(7):
            heading = (await drawn(app, pilot))[2]
            since = heading.split("since ")[1].split()[0] if "since " in heading else "all"
            seen[since] = sorted(table.rows.order)
            await press(pilot, "<")
        assert seen == {
            "all": [1, 2, 3, 4, 5],
            "7d": [2, 3, 4, 5],
            "24h": [3, 4, 5],
            "6h": [3, 4, 5],
            "1h": [4, 5],
            "15m": [5],
        }
        for _ in range(7):
            await press(pilot, ">")
        await drawn(app, pilot)
        assert len(table.rows.order) == 5

    drive(source, body)


def test_from_a_worker_to_the_partition_that_it_serves() -> None:
    lanes = [a_partition(8), a_partition(9)]
    workers = [a_worker("idle", partitions=[]), a_worker("w-45", partitions=[8, 9, 9])]

    async def body(app: Console, pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: app.store.frame_ms is not None)
        await typed(pilot, ":worker idle")
        await drawn(app, pilot)
        await press(pilot, "P")
        assert "no worker with partitions" in app.notices.all[-1].text
        await typed(pilot, ":worker w-45")
        await drawn(app, pilot)
        await press(pilot, "P")
        await until(pilot, lambda: app.current_mode == "partitions")
        lines = await drawn(app, pilot)
        assert any("─ p9 slow ─" in line for line in lines)

    drive(Canned(snapshot(workers=workers, partitions=lanes)), body)


def _are_known(app: Console, runs: int) -> bool:
    return len(app.store.runs) == runs


def test_all_pages_of_older_runs_are_loaded_and_no_more() -> None:
    runs = [a_run(id=number, created_at=at(number - 1_000)) for number in range(600, 0, -1)]

    class Pages(Canned):
        """Runs in pages of 200."""

        async def ask(
            self,
            method: str,
            path: str,
            *,
            query: Mapping[str, str] | None = None,
            body: Json = None,
        ) -> bytes:
            if path != "/v1/runs" or "state" in (query or {}):
                return await super().ask(method, path, query=query, body=body)
            begin = int((query or {}).get("cursor", 0))
            asked.append(begin)
            end = begin + 200
            page = Page(items=runs[begin:end], next_cursor=str(end) if end < len(runs) else None)
            return msgspec.json.encode(page)

    asked: list[int] = []

    async def body(app: Console, pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: app.store.frame_ms is not None)
        await press(pilot, "4")
        await until(pilot, lambda: app.screen.query("#runs"))
        table = app.screen.query_one("#runs", Table)
        for loaded in (200, 400, 600):
            await until(pilot, partial(_are_known, app, loaded))
            await drawn(app, pilot)
            await press(pilot, "G")
            await drawn(app, pilot)
        assert "all loaded" in "".join(await drawn(app, pilot))
        assert len(table.rows.order) == 600
        assert asked == [0, 200, 400]

    drive(Pages(snapshot()), body)
