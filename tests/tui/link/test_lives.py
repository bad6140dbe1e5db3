"""Holds what consoles show to what is true, over lives of the system and of their links."""

from collections import Counter
from pathlib import Path

import pytest
import structlog
import trio
from trio.testing import MockClock

from control.model.api.live import Frame
from control.model.states import FINAL, Speed
from tests.services.plane import now_ms
from tests.tui import lives
from tests.tui.hostile import drawn
from tests.tui.lives import Life
from tests.tui.samples import a_run
from tui.core.formatting import count, part
from tui.core.store import FetchedAnswer, Store
from tui.panes import bars, lanes, tiles

_WIDTH = 60


def snapshot(life: str | None, *runs: int) -> Frame:
    time = "2026-10-15T12:41:07Z"
    shown = [a_run(id=number) for number in runs]
    return Frame(seq=0, time=time, kind="snapshot", life=life, runs=shown)


def test_other_data_clear_what_was_shown() -> None:
    store = Store()
    store.take(snapshot("a.1", 1, 2), 0)
    store.take(snapshot("a.1", 3), 0)  # The link was lost for a moment.
    assert set(store.runs) == {1, 2, 3}
    store.answers["open.READY"] = FetchedAnswer(value=[1])
    store.take(snapshot("a.2", 2_000_000_001), 0)  # A backup was restored.
    assert set(store.runs) == {2_000_000_001}
    assert not store.answers


@pytest.mark.parametrize("seed", range(6))
def test_the_overview_shows_what_is_true(tmp_path: Path, seed: int) -> None:
    lives.replayable(seed)
    with structlog.testing.capture_logs():
        checks = trio.run(
            lives.live, tmp_path, seed, check_all, clock=MockClock(autojump_threshold=0)
        )
    assert checks >= 3


async def check_all(life: Life) -> None:
    """Every console with a link, and one that comes just now."""
    fresh = lives.Console("fresh", life.events, watches=True)
    async with trio.open_nursery() as nursery:
        fresh.connect(nursery)
        await trio.sleep(0.01)
        for console in [*life.consoles, fresh]:
            if console.up:
                await life.ask(console.store)
                check(life, console.store)
        fresh.lose()


def check(life: Life, store: Store) -> None:
    """Each number of the overview, as it is drawn."""
    _check_tiles(life, store)
    _check_lanes(life, store)
    _check_runs(life, store)
    _check_workers(life, store)
    notes = life.live.notes.all()
    assert store.notes[-len(notes) :] == notes
    assert len(store.notes) == min(life.live.notes.told, len(store.notes))


def _check_tiles(life: Life, store: Store) -> None:
    counted, full = life.counted, store.pulses[:-1]
    now = store.pulses[-1]
    ended = life.one("SELECT count(*) FROM jobs WHERE state IN ('DONE', 'ERROR', 'CANCELLED')")
    assert counted.ended == ended
    assert sum(pulse.ended for pulse in store.pulses) == ended
    assert sum(pulse.attempts for pulse in store.pulses) == counted.attempts
    assert sum(pulse.errors for pulse in store.pulses) == counted.errors
    assert sum(pulse.retries for pulse in store.pulses) == counted.retries
    assert sum(pulse.lost for pulse in store.pulses) == counted.lost
    throughput = drawn(tiles.throughput(store.pulses, _WIDTH))
    assert f"{ended - now.ended} in " in throughput[-1]
    failed, attempts = counted.errors - now.errors, counted.attempts - now.attempts
    errors = drawn(tiles.errors(store.pulses, [], _WIDTH))
    assert errors[0].split() == [str(failed), "of", str(attempts), part(failed / (attempts or 1))]
    assert f"retries {counted.retries - now.retries}" in errors[3]
    assert f"lost {counted.lost - now.lost}" in errors[3]
    per_s, wrong = bars.rates(store.pulses)
    last = full[-3:] or [now]
    assert per_s == sum(pulse.ended for pulse in last) / (10 * len(last))
    tried = sum(pulse.attempts for pulse in last)
    assert wrong == sum(pulse.errors for pulse in last) / (tried or 1)

    counts, ready = store.counts, life.one("SELECT count(*) FROM jobs WHERE state = 'READY'")
    assert counts is not None
    assert counts.waiting == now.waiting == ready
    running = sum(held.started_ms is not None for held in life.held())
    assert counts.running == now.running == running
    links = life.plane.dispatcher.leases.links.values()
    assert counts.workers == len(links)
    assert counts.slots == sum(link.info.slots for link in links)
    assert counts.open_runs == sum(run.state not in FINAL for run in life.plane.runs())
    waiting = drawn(tiles.waiting(counts, store.queues(), store.pulses, _WIDTH))
    assert waiting[0].split()[:3] == [str(ready), "of", count(life.plane.ledger.queue_size)]


def _check_lanes(life: Life, store: Store) -> None:
    held = life.held()
    queues = store.queues()
    assert queues is not None
    ready = """SELECT count(*) FROM jobs WHERE state = 'READY' AND ready_ms IS NOT NULL
               AND ready_ms <= ?"""
    placed = sum(each.started_ms is None for each in held)
    waiting = life.one(ready, now_ms()) - placed
    assert sum(each.jobs for each in queues.classes) == waiting
    assert sum(each.jobs for each in queues.reasons) == waiting
    partitions = sorted(store.partitions.values(), key=lambda each: each.partition)
    in_lane = Counter(each.placed.partition for each in held)
    slots = Counter(
        partition
        for link in life.plane.dispatcher.leases.links.values()
        for partition in link.info.partitions
    )
    assert [each.partition for each in partitions] == [0, 1, 2, 3]
    for each in partitions:
        mine = in_lane[each.partition]
        assert each.slots == slots[each.partition]
        assert (each.running, each.depth) == (min(mine, each.slots), max(mine - each.slots, 0))
        ages = [one.since_ms for one in held if one.placed.partition == each.partition]
        assert (each.oldest_age_seconds is None) == (not ages)
        started = [one for one in held if one.started_ms is not None]
        heads = [one for one in started if one.placed.partition == each.partition]
        first = min(heads, key=lambda one: one.started_ms, default=None)
        assert (each.head is None) == (first is None)
        if each.head is not None and first is not None:
            assert each.head.job_id == first.lease.job_id
    lines = drawn(lanes.lanes(partitions, queues, _WIDTH))
    for speed, row in zip((Speed.FAST, Speed.SLOW), lines[1:3], strict=True):
        own = [each for each in partitions if each.speed == speed]
        words = row.split()
        assert words[:3] == [speed, str(len(own)), str(sum(each.depth for each in own))]
        busy, every = sum(each.running for each in own), sum(each.slots for each in own)
        assert words[-1] == f"{busy}/{every}"
    assert f"not yet placed {waiting}" in lines[3]


def _check_runs(life: Life, store: Store) -> None:
    known = {run.id: run for run in life.plane.runs() if run.state not in FINAL}
    shown = store.open_runs()
    assert [run.id for run in shown] == sorted(known, reverse=True)
    for run in shown:
        real = known[run.id]
        assert run.state == real.state
        states = Counter(job.state for job in real.jobs)
        told: Counter[object] = Counter()
        for stage in run.stages:
            told.update(stage.counts)
        assert dict(+told) == dict(states), run.id


def _check_workers(life: Life, store: Store) -> None:
    links = life.plane.dispatcher.leases.links
    here = {name: each for name, each in store.workers.items() if each.state not in _GONE}
    assert here.keys() == links.keys()
    for name, worker in here.items():
        link = links[name]
        assert worker.slots == link.info.slots
        assert worker.state == ("draining" if link.info.draining else "connected")
        given = {(each.job_id, each.attempt) for each in worker.running}
        assert given == {(lease.job_id, lease.attempt) for lease in link.holds}, name
        begun = sum(each.started_at is not None for each in worker.running)
        assert begun == sum(held.started_ms is not None for held in link.holds.values())


_GONE = {"lost", "drained"}
