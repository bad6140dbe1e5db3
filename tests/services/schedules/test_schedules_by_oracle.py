"""Decides that schedules do what docs/pipelines.md says: random lives, against a naive one.

`pytest tests/services/schedules/test_schedules_by_oracle.py --schedule-cases 10000` plays more
of them, and `--seed 7` one again, as it was. Each case is a schedule of any kind, near a
jump of its zone's clocks as likely as not, that lives through runs, restarts, outages, edits,
pauses, backfills, and a wall clock that is set.
"""

import random
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
import structlog
import trio
from trio.testing import MockClock

from control.core.schedules import cron
from control.core.schedules.plan import offset_ms
from control.model.names import Change
from control.model.numbers import RunId
from control.model.pipelines import Dst, Pipeline, ScheduleSpec
from control.model.state_rows import NewRun
from control.model.states import Fold, Gap, Missed, Overlap, State, Trigger
from store import schedules
from store.database.writer import Tx
from tests.core.schedules.schedule_oracle import NAMES, Life, Run, fires
from tests.services.plane import EPOCH_MS, Plane, opened, pipeline

pytestmark = pytest.mark.slow

BATCHES = 10
MINUTE_MS = 60_000
DAY_MS = 1_440 * MINUTE_MS
# Events come when nothing can be due, and nothing is for as long as a restart takes to settle.
QUIET_MS = 30_500
WINDOW_S = 20
TIMES_MAX = 20  # That a jump of the clock leaves out, or repeats.
PLAN_MS = 12 * 60 * MINUTE_MS  # The real planner looks each minute, which would take too long.

JUMPS = [
    ("Europe/Paris", "2026-03-29T01:00:00"),
    ("Europe/Paris", "2026-10-25T01:00:00"),
    ("America/New_York", "2026-03-08T07:00:00"),
    ("America/New_York", "2026-11-01T06:00:00"),
    ("Australia/Lord_Howe", "2026-10-03T15:30:00"),
    ("Australia/Lord_Howe", "2026-04-04T15:00:00"),
    ("America/Santiago", "2026-09-06T04:00:00"),
    ("Africa/Casablanca", "2026-02-15T02:00:00"),
]
ZONES = ["UTC", "UTC", "Asia/Kolkata", "Europe/Paris", "America/New_York"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seeds" not in metafunc.fixturenames:
        return
    seed, cases = metafunc.config.getoption("--seed"), metafunc.config.getoption("--schedule-cases")
    each = -(-cases // BATCHES)
    found = [range(n * each, min((n + 1) * each, cases)) for n in range(BATCHES)]
    metafunc.parametrize("seeds", found if seed is None else [range(seed, seed + 1)], ids=str)


def test_schedules_do_what_the_reference_says(seeds: range, tmp_path: Path) -> None:
    for seed in seeds:
        folder = tmp_path / str(seed)
        folder.mkdir()
        case = Case(seed, folder)
        try:
            with structlog.testing.capture_logs():
                trio.run(case.run, clock=MockClock(autojump_threshold=0))
        except BaseException:
            print(f"seed {seed}:", *case.history, sep="\n  ")  # noqa: T201 - what to look at.
            raise


class Case:
    """One schedule's life, as it is and as it should be."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.chance = random.Random(seed)
        self.history: list[str] = []
        self._folder = folder
        self._zone, self._near_ms = self._place()
        self._spec = self._any_spec()
        self._stepped_ms = 0
        self._ids: list[int] = []  # Of the model's runs, in its order.

    async def run(self) -> None:
        begin_ms = self._begin_ms()
        self._stepped_ms = begin_ms - EPOCH_MS
        self._note(f"begins, {msgspec.json.encode(self._spec).decode()}", begin_ms)
        self._check_times(begin_ms)
        life: Life | None = None
        left = self.chance.randint(3, 7)
        while life is None or left > 0:
            async with opened(self._folder, stepped_ms=self._stepped_ms) as (plane, _):
                if life is None:
                    plane.client("ann")
                    self._revision = await plane.put(self._pipeline(self._spec))
                    life = Life(self._spec, begin_ms, self._offset_ms)
                await self._settle(plane, life)
                self._compare(plane, life)
                while left > 0:
                    left -= 1
                    await self._advance(plane, life, self._later_ms(life))
                    self._compare(plane, life)
                    if self.chance.random() < 0.2:
                        break
                    await self._event(plane, life)
                    self._compare(plane, life)
                self._stepped_ms = plane.stepped_ms
            await self._outage(life)

    async def _outage(self, life: Life) -> None:
        until_ms, step_ms = self._later_ms(life), 0
        if self.chance.random() < 0.2:  # Nobody sees that the clock is set meanwhile.
            step_ms = -self.chance.randint(1, 300) * MINUTE_MS
        step = f"the clock set by {step_ms / MINUTE_MS:g} minutes"
        self._note(f"down, {step}, until", until_ms + step_ms)
        await trio.sleep((until_ms - life.now_ms) / 1000)
        self._stepped_ms += step_ms
        until_ms += step_ms
        if until_ms > life.now_ms:
            life.passes(until_ms, up=False)
        else:
            life.clock_set(until_ms)

    async def _event(self, plane: Plane, life: Life) -> None:
        kind = self.chance.choice(
            ["end", "end", "end", "hand", "pause", "edit", "backfill", "clock", "clock"]
        )
        self._note(kind, life.now_ms)
        match kind:
            case "end":
                await self._end(plane, life)
            case "hand":
                life.start_by_hand()
                await plane.writer.write(lambda tx: self._start_by_hand(tx, plane, life.now_ms))
            case "pause":
                paused = not life.paused
                life.pause(paused=paused)
                await plane.writer.write(lambda tx: _pause(tx, life.now_ms, paused=paused))
            case "edit":
                spec = self._any_spec(self._spec)
                self._note(msgspec.json.encode(spec).decode(), life.now_ms)
                await plane.put(self._pipeline(spec))
                self._spec = spec
                life.edit(spec)
            case "backfill":
                await self._backfill(plane, life)
            case _:
                by_ms = self._step_ms(life)
                self._note(f"the clock is set by {by_ms / MINUTE_MS} minutes", life.now_ms)
                plane.stepped_ms += by_ms
                await plane.clock_watch.run_once()
                life.clock_set(life.now_ms + by_ms)
        if kind in {"end", "hand"}:
            await self._publish(plane)
        else:
            await self._settle(plane, life)

    async def _end(self, plane: Plane, life: Life) -> None:
        unended = [at for at, run in enumerate(life.runs) if run.open]
        if not unended:
            return
        at = self.chance.choice(unended)
        run_id = self._ids[at]
        await plane.writer.write(
            lambda tx: plane.ledger.cancel_run(tx, RunId(run_id), "by order", now_ms=life.now_ms)
        )
        life.ends(at)

    async def _backfill(self, plane: Plane, life: Life) -> None:
        days = 2 if "/" in self._spec.cron or self._spec.cron.startswith("*") else 20
        length_ms = self.chance.randint(1, days * 1_440) * MINUTE_MS
        begin_ms = life.now_ms - length_ms
        found = cron.nominal_times(
            self._spec, after_ms=begin_ms - 1, until_ms=life.now_ms, limit=1_000
        )[:30]
        if not found:
            return

        def work(tx: Tx) -> None:
            rows = [(nominal_ms, life.now_ms) for nominal_ms in found]
            schedules.plan(tx.conn, 1, rows, backfill=True)
            tx.touch(Change.PLAN)

        await plane.writer.write(work)
        life.backfill(begin_ms, found[-1])

    def _start_by_hand(self, tx: Tx, plane: Plane, now_ms: int) -> None:
        new = NewRun(
            revision_id=self._revision,
            client="ann",
            client_priority=10,
            max_running=None,
            trigger=Trigger.MANUAL,
            created_ms=now_ms,
            schedule_id=1,
        )
        plane.ledger.submit(tx, [new])

    async def _advance(self, plane: Plane, life: Life, until_ms: int) -> None:
        """Let the wall clock go on to `until_ms`: planner and publisher do what they do."""
        self._note("goes on until", until_ms)
        plan_ms = life.now_ms + PLAN_MS
        while (now_ms := plane.clock.wall_ms()) < until_ms:
            if now_ms >= plan_ms:
                await plane.planner.run_once()
                plan_ms = now_ms + PLAN_MS
            await self._publish(plane)
            next_ms = schedules.next_due_ms(plane.conn, now_ms) or until_ms
            wake_ms = min(next_ms, until_ms, plan_ms)
            await trio.sleep((wake_ms - now_ms) / 1000)
        await self._publish(plane)
        life.passes(until_ms)

    async def _settle(self, plane: Plane, life: Life) -> None:
        """What is to be done now is done; after a start that takes some seconds."""
        await plane.planner.run_once()
        await self._publish(plane)
        left_ms = plane.publisher.settled_ms - plane.clock.steady_ms()
        if left_ms > 0:
            await trio.sleep(left_ms / 1000)
            await self._publish(plane)
            life.passes(plane.clock.wall_ms())

    async def _publish(self, plane: Plane) -> None:
        while await plane.publisher.run_once(plane.clock.wall_ms()):
            pass

    def _compare(self, plane: Plane, life: Life) -> None:
        sql = """
            SELECT r.id, r.scheduled_for_ms, b.run_id IS NOT NULL, r.state, r.reason FROM runs AS r
            LEFT JOIN backfill_runs AS b ON b.run_id = r.id ORDER BY r.id
        """
        found = {}
        for run_id, nominal_ms, of_backfill, state, reason in plane.conn.execute(sql):
            kind = "backfill" if of_backfill else "asked" if nominal_ms is None else "planned"
            key = run_id if nominal_ms is None else nominal_ms
            unended = state == State.READY
            found[key] = (
                run_id,
                Run(
                    kind=kind,
                    nominal_ms=nominal_ms,
                    open=unended,
                    replaced=reason.startswith("replaced by"),
                ),
            )
        by_hand = iter(sorted(key for key, (_, run) in found.items() if run.kind == "asked"))
        keys = [next(by_hand) if run.nominal_ms is None else run.nominal_ms for run in life.runs]
        assert sorted(keys) == sorted(found), self._differ(set(keys), set(found))
        self._ids = [found[key][0] for key in keys]
        for key, run in zip(keys, life.runs, strict=True):
            assert found[key][1] == run
        sql = "SELECT nominal_ms FROM scheduled_runs WHERE waiting = 1 AND backfill = ? ORDER BY 1"
        waiting = [row[0] for row in plane.conn.execute(sql, (0,))]
        asked_for = [row[0] for row in plane.conn.execute(sql, (1,))]
        assert (waiting, asked_for) == (sorted(life.waiting), sorted(life.asked_for))

    def _differ(self, expected: set[int], found: set[int]) -> str:
        missing, more = sorted(expected - found), sorted(found - expected)
        return f"missing {[_shown(each) for each in missing]}, more {[_shown(x) for x in more]}"

    def _check_times(self, begin_ms: int) -> None:
        """The nominal times alone, from both ends."""
        length = 3_600_000 if len(self._spec.cron.split()) == 6 else 3 * DAY_MS
        after_ms = begin_ms - self.chance.randint(0, length // 2)
        until_ms = after_ms + self.chance.randint(0, length)
        expected = fires(self._spec, after_ms, until_ms)
        span = {"after_ms": after_ms, "until_ms": until_ms}
        assert cron.check_schedule(self._spec.cron, self._spec.timezone) == []
        assert cron.nominal_times(self._spec, **span, limit=10_000) == expected
        assert cron.newest_nominal_times(self._spec, **span, limit=7) == expected[-7:]

    # What may be.

    def _place(self) -> tuple[str, int]:
        if self.chance.random() < 0.5:
            zone, at = self.chance.choice(JUMPS)
            return zone, _ms(at) + self.chance.randint(-2_000, 600) * MINUTE_MS
        begin_ms = _ms("2025-01-01T00:00:00")
        return self.chance.choice(ZONES), begin_ms + self.chance.randint(0, 1_000_000) * MINUTE_MS

    def _begin_ms(self) -> int:
        """Shortly before it fires, where events may be."""
        first_ms = cron.next_nominal_time(self._spec, self._near_ms) or self._near_ms
        before_ms = self.chance.choice([1, 5, 60, 24 * 60]) * MINUTE_MS
        return max(first_ms - before_ms, self._near_ms) // MINUTE_MS * MINUTE_MS + QUIET_MS

    def _later_ms(self, life: Life) -> int:
        """Some nominal times later, at most 40 days."""
        times = cron.nominal_times(
            self._spec,
            after_ms=life.now_ms,
            until_ms=life.now_ms + 40 * DAY_MS,
            limit=self.chance.randint(1, 3),
        )
        later_ms = times[-1] if times else life.now_ms + 10 * DAY_MS
        if self.chance.random() < 0.1:
            later_ms += 3 * DAY_MS if len(times) < 3 or times[1] - times[0] > DAY_MS // 8 else 0
        return later_ms // MINUTE_MS * MINUTE_MS + MINUTE_MS + QUIET_MS

    def _step_ms(self, life: Life) -> int:
        """Minutes, hours, or days, but not over too many of its times."""
        step_ms = self.chance.choice([1, 10, 60, 600, 6_000]) * MINUTE_MS
        step_ms *= self.chance.randint(1, 9)
        begin_ms = life.now_ms
        times = cron.nominal_times(
            self._spec, after_ms=begin_ms, until_ms=begin_ms + step_ms, limit=TIMES_MAX
        )
        if len(times) == TIMES_MAX:
            step_ms = (times[-1] - begin_ms) // MINUTE_MS * MINUTE_MS + MINUTE_MS
        return step_ms * self.chance.choice([-1, 1])

    def _any_spec(self, before: ScheduleSpec | None = None) -> ScheduleSpec:
        chance = self.chance
        spec = ScheduleSpec(
            cron=self._any_cron(),
            timezone=self._zone,
            missed=chance.choice(list(Missed)),
            overlap=chance.choice(list(Overlap)),
            dst=Dst(gap=chance.choice(list(Gap)), fold=chance.choice(list(Fold))),
            window=chance.choice([0, 0, WINDOW_S]),
            enabled=before is None or chance.random() < 0.8,
        )
        if before is not None and chance.random() < 0.5:  # Not everything is edited at once.
            spec = msgspec.structs.replace(spec, cron=before.cron)
        return spec

    def _any_cron(self) -> str:
        chance = self.chance
        minute = chance.choice(
            ["0", "30", "*/5", "*/7", "*", f"{chance.randint(0, 59)}", "5-20/5,50"]
        )
        hour = chance.choice(["*", "*", "*/2", "0", "1-3", "2", "2", "0-4/2", "23", "9,17"])
        day, month, weekday = "*", "*", "*"
        if chance.random() < 0.5:
            day = chance.choice(
                ["*", "*/2", "*/3", "1", "L", "15W", "1W", "30W", "10-20", "1,L", "?"]
            )
            name = chance.choice([*NAMES, "0", "5", "7"])
            number = chance.choice(["0", "1", "5", "7"])
            weekday = chance.choice(
                ["*", name, "1-5", "*/2", f"{name}#{chance.randint(1, 5)}", f"L{number}", "1#1,3#2"]
            )
            month = chance.choice(["*", "*", "*", "1-12/2", "2,3,10,11"])
        if minute == "*" and hour != "*" and chance.random() < 0.5:
            minute = "0"
        text = f"{minute} {hour} {day} {month} {weekday}"
        return text if cron.check_schedule(text, "UTC") == [] else "0 0 * * *"

    def _offset_ms(self, nominal_ms: int) -> int:
        found = offset_ms(1, nominal_ms, self._spec.window)
        assert 0 <= found <= self._spec.window * 1_000
        return found

    def _pipeline(self, spec: ScheduleSpec) -> Pipeline:
        return pipeline("p", schedules=(spec,))

    def _note(self, what: str, at_ms: int) -> None:
        self.history.append(f"{_shown(at_ms)} {what}")


def _pause(tx: Tx, now_ms: int, *, paused: bool) -> None:
    tx.touch(Change.SCHEDULES)
    schedules.set_paused(tx.conn, 1, paused=paused, now_ms=now_ms)


def _ms(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000


def _shown(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1_000, UTC).isoformat(timespec="milliseconds")
