"""Decides that a backfill says how many runs it starts before it is confirmed."""

from typing import Any

from textual.pilot import Pilot

from control.model.api.views import Page
from tests.tui.made_up import as_text, opened
from tests.tui.samples import a_schedule
from tests.tui.sources import Canned, drawn, drive, picture, press, rest, snapshot, typed, until
from tui.app import Console
from tui.screens.confirm import Confirm


def _source(planned: int | None) -> Canned:
    answers: dict[str, object] = {
        "/v1/schedules": Page(items=[a_schedule(7)]),
        "/v1/schedules/plan": Page(items=[]),
    }
    if planned is not None:
        answers["/v1/schedules/7/backfill"] = {"planned": planned, "found": planned + 2}
    return Canned(snapshot(), answers=answers)


def _asked(planned: int | None, *keys: str) -> tuple[Canned, list[str]]:
    source, seen = _source(planned), []

    async def body(app: Console, pilot: Pilot[Any]) -> None:
        view = await opened(app, pilot, "6")

        def there() -> bool:
            app.flush_view()
            return bool(view.query("#schedules").first().rows.order)  # type: ignore[attr-defined]

        await until(pilot, there)
        await typed(pilot, ":rw")
        await until(pilot, lambda: app.may_write)
        messages = len(app.notices.all)
        await press(pilot, "B")
        await until(
            pilot, lambda: isinstance(app.screen, Confirm) or len(app.notices.all) > messages
        )
        if isinstance(app.screen, Confirm):
            await until(pilot, lambda: "the same in a shell" in as_text(picture(app)))
        seen.append(as_text(await drawn(app, pilot)) + app.notices.all[-1].text)
        await press(pilot, *keys)
        await rest(pilot)

    drive(source, body)
    return source, seen


def test_the_number_of_runs_has_to_be_typed() -> None:
    source, (text,) = _asked(1438, *"1438", "enter")
    assert "Start 1438 runs for missed times of schedule 7 nightly-report?" in text
    assert "type 1438" in text
    assert "--from 2026-10-14T12:41:07.000Z" in text
    assert "2026-10-15T12:41:07.000Z" in text
    assert [path for _, path, _ in source.sent] == ["/v1/schedules/7/backfill"]


def test_another_number_is_no_answer() -> None:
    source, _ = _asked(1438, "y", "1", "enter", "escape")
    assert not source.sent


def test_nothing_to_make_up_for_and_too_much_are_said_at_once() -> None:
    assert "nothing to make up for" in _asked(0)[1][0]
    assert "404" in _asked(None)[1][0]
