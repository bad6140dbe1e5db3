"""Decides what tiles, lanes, histograms, and slots say of known values."""

from hypothesis import given
from hypothesis import strategies as st

from control.model.states import Outcome, Speed
from tests.tui.hostile import drawn
from tests.tui.samples import (
    NOW,
    a_detail,
    a_group,
    a_partition,
    a_running,
    a_summary,
    a_task,
    a_worker,
    an_attempt,
    at,
    some_counts,
    some_pulses,
    some_queues,
)
from tui.panes.histogram import costs, histogram
from tui.panes.lanes import lane_detail, lanes
from tui.panes.slots import Stay, packed, slot_history
from tui.panes.tiles import TILE_LINES, errors, oldest, throughput, waiting

QUEUES = some_queues(a_group())


def test_tiles() -> None:
    pulses = some_pulses()
    assert drawn(throughput(pulses, 28)) == [
        " 446 jobs/s            ↑ 9%",
        " ▂▃▄▃▄▄▄▄▅▄▅▅▅▅▆▅▆▆▆▆▇▇▇▇▇▇",
        " 15 m ago               now",
        " peak 454/s     368k in 15m",
    ]
    told = drawn(waiting(some_counts(), QUEUES, pulses, 28))
    assert told[0] == " 3,912 of 100k         3.9%"
    assert told[2:] == [" fast 3,404   slow 508", " drains in ~2s  ~6m       ↑"]
    assert drawn(oldest(QUEUES, a_summary(), 28)) == [
        " fast 400ms   slow 19m30s ▲",
        " wait     p50    p95    p99",
        " fast   762ms  824ms  10.9s",
        " slow   3m10s  3m26s 45m30s",
    ]
    told = drawn(errors(pulses, [a_task(), a_task(job="quiet", errors=0)], 28))
    assert told[0] == " 7 of 368k             0.0%"
    assert told[2:] == [" top media/transcode      9", " retries 7           lost 0"]


def test_what_is_not_known_is_no_zero() -> None:
    pictures = [
        throughput([], 28),
        throughput(some_pulses(1), 28),
        waiting(None, None, [], 28),
        oldest(None, None, 28),
        errors([], [], 28),
    ]
    for lines in pictures:
        text = " ".join(drawn(lines))
        assert "not known yet" in text
        assert "0" not in text
        assert len(lines) <= TILE_LINES


def test_a_queue_that_is_nearly_full_and_no_slots() -> None:
    told = drawn(waiting(some_counts(waiting=95_000, slots=0), QUEUES, [], 28))
    assert told[0].endswith("95% ▲")
    assert told[3].startswith(" no slots to drain it ▲")


def test_lanes() -> None:
    own = [
        a_partition(each, Speed.FAST, depth=8, expected_seconds=60.0, oldest_age_seconds=0.4)
        for each in range(8)
    ]
    told = drawn(lanes([*own, a_partition()], QUEUES, 58))
    assert told == [
        "      PARTS  DEPTH  WORK TO DO            OLDEST    SLOTS",
        " fast     8     64  █▎░░░░░░░░    8m00s   400ms   128/128",
        " slow     1      4  ▌░░░░░░░░░   12m30s  19m30s▲    16/16",
        " not yet placed 3,912   fast 3,404   slow 508",
    ]
    assert "not known yet" in drawn(lanes([], None, 58))[-1]


def test_one_lane() -> None:
    sent = [a_running(81201, started=None), a_running(81204, started=None, partition=1)]
    told = drawn(lane_detail(a_partition(), sent, 118, NOW))
    assert told[1] == " head    ▲ job 81190 media/transcode try 1 on w-45"
    assert told[2] == "         running 20m00s   expected 41.0s   29× what was expected"
    assert "81201 media/transcode 41.0s" in told[3]
    assert told[3].endswith("1 at workers, 41.0s")
    assert told[4].endswith("grows by 0.7/min ▲")
    calm = a_partition(head=a_running(started=-20), placed_per_minute=0.0)
    told = drawn(lane_detail(calm, [], 118, NOW))
    assert told[2].endswith("ends in ~21s")
    assert told[4].endswith("drains in ~47s")
    idle = drawn(lane_detail(a_partition(head=None, depth=0, workers=[]), [], 118, NOW))
    assert "no job runs in it" in idle[1]
    assert idle[3].endswith("nothing waits in it")
    stuck = a_partition(slots=0, placed_per_minute=0.0, head=a_running(started=None))
    told = drawn(lane_detail(stuck, [], 118, NOW))
    assert told[1].endswith("has not begun")
    assert told[3].endswith("no slot serves it ▲")


def test_histogram() -> None:
    told = drawn(histogram(a_detail(), 58, 11))
    assert told[0] == "    < 10s ▎                                            2"
    assert told[2] == f"    < 45s {'█' * 38}     310"
    assert told[5].startswith("    ≥ 10m")
    assert told[-2] == " took    p50 38.1s  p95 41.2s  p99 9m06s  max 20m00s"
    assert len(drawn(histogram(a_detail(), 58, 6))) == 3 + 1 + 2


def test_costs() -> None:
    assert drawn(costs(a_task(), 3600.0, 58)) == [
        " class   slow, learned from 412 attempts",
        " costs   61% of slot-seconds, 4.1 slots on average",
        " before  p95 was 29.9s in the window before, now +11.3s",
        " errors  2.2%, 9 of 412",
    ]
    assert "nothing ended" in drawn(costs(a_task(p95_before=None), 3600.0, 58))[2]


def test_slots() -> None:
    ended = [
        an_attempt(1, -100, -50),
        an_attempt(2, -100, -80, outcome=Outcome.FAILED),
        an_attempt(3, -50, -49),
        an_attempt(9, -20_000, -19_000),
    ]
    worker = a_worker(
        slots=3,
        running=[a_running(4, started=-40), a_running(5, started=None)],
        connected_at=at(-90),
    )
    told = drawn(slot_history(worker, ended, 33, 5, now_ms=NOW, window_ms=100_000))
    assert told == [
        " slot 1  ██✗░░░░▒░█████▸ medi…",
        " slot 2  ████████░░░░░░░ medi…",
        " slot 3   ░░░░░░░░░░░░░░",
        "         1m ago      now",
    ]


def test_slots_that_are_not_known_are_not_free() -> None:
    worker = a_worker(slots=2, running=[a_running(4, started=-40)], connected_at=at(-9_000))
    told = drawn(slot_history(worker, None, 33, 4, now_ms=NOW, window_ms=100_000))
    assert told == [
        " slot 1           █████▸ medi…",
        " slot 2",
        "         1m ago: lo… now",
    ]


def test_slots_before_the_first_attempt_that_was_told_are_not_known() -> None:
    worker = a_worker(slots=2, connected_at=at(-9_000))
    ended = [an_attempt(1, -50, -40), an_attempt(2, -40, -20)]
    told = drawn(slot_history(worker, ended, 33, 3, now_ms=NOW, window_ms=100_000, limit=2))
    assert told[0] == " slot 1         ▒████░░░ medi…"
    assert told[1] == " slot 2           ░░░░░░"


def test_a_slot_is_named_by_what_runs_in_it() -> None:
    worker = a_worker(slots=1, running=[a_running(4, started=-10, name="e2e")])
    told = slot_history(
        worker, [an_attempt(1, -900, -20, job="do")], 60, 2, now_ms=NOW, window_ms=900_000
    )
    assert "media/e2e" in drawn(told)[0]
    free = slot_history(
        a_worker(slots=1),
        [an_attempt(1, -900, -20, job="do")],
        60,
        2,
        now_ms=NOW,
        window_ms=900_000,
    )
    assert any("media/do" in text and look == "dim" for text, look in free[0])


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 20)), max_size=25), st.integers(1, 5))
def test_no_more_rows_than_are_needed(found: list[tuple[int, int]], slots: int) -> None:
    stays = [
        Stay(begin_ms=begin, end_ms=begin + length, name="x", outcome=Outcome.DONE)
        for begin, length in found
    ]
    rows = packed(stays, slots)
    assert len(rows) == slots
    assert sorted(id(stay) for row in rows for stay in row) == sorted(map(id, stays))
    at_once = max(
        (sum(s.begin_ms <= each.begin_ms < s.end_ms for s in stays) for each in stays), default=0
    )
    assert sum(bool(row) for row in rows) <= max(at_once, 0)
