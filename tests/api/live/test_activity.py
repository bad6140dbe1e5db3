"""Decides what is counted in each ten seconds, and what of a flood an operator hears."""

import msgspec

from control.api.live.activity import Notes, Pulses
from control.model import limits
from control.model.bus.messages import Finished
from control.model.states import Outcome
from control.model.times import to_rfc3339
from tests.api.live.test_projection import FINISHED, WORKER
from tests.api.serving import NOW_MS, RULES

BEGIN_MS = NOW_MS - NOW_MS % limits.PULSE_MS


def ended(outcome: Outcome, *, final: bool = True, partition: int = 0) -> Finished:
    return msgspec.structs.replace(FINISHED, outcome=outcome, final=final, partition=partition)


def none_runs() -> int:
    return 0


def test_a_pulse_counts_what_ended_and_how() -> None:
    pulses = Pulses(BEGIN_MS + 3)
    for message in (
        ended(Outcome.DONE),
        ended(Outcome.FAILED, final=False),
        ended(Outcome.TIMED_OUT),
        ended(Outcome.LOST, final=False),
        ended(Outcome.CANCELLED),
    ):
        pulses.finished(message)
    pulses.skipped()
    pulses.waiting = 7
    [pulse] = pulses.all(running=5)
    assert (pulse.at, pulse.waiting, pulse.running) == (to_rfc3339(BEGIN_MS), 7, 5)
    assert (pulse.ended, pulse.errors, pulse.retries, pulse.lost) == (4, 2, 1, 1)


def test_pulses_go_on_while_nothing_happens_and_the_oldest_go() -> None:
    pulses = Pulses(BEGIN_MS)
    pulses.finished(FINISHED)
    told = pulses.all(0)[-1]
    assert pulses.since(told, 0) == []
    assert [each.running for each in pulses.since(told, 1)] == [1]
    pulses.roll(BEGIN_MS + 2 * limits.PULSE_MS + 1, none_runs)
    assert [each.ended for each in pulses.all(0)] == [1, 0, 0]
    assert pulses.since(told, 0) == pulses.all(0)
    assert len(pulses.since(pulses.all(0)[-1], 3)) == 1
    assert pulses.end_ms == BEGIN_MS + 3 * limits.PULSE_MS
    for count in (50, 100):
        pulses.roll(BEGIN_MS + count * limits.PULSE_MS, none_runs)
    shown = pulses.all(0)
    assert (len(shown), shown[0].ended) == (limits.PULSES_KEPT, 0)
    assert shown[-1].at == to_rfc3339(BEGIN_MS + 100 * limits.PULSE_MS)


def test_a_clock_that_jumps_is_followed() -> None:
    pulses = Pulses(BEGIN_MS)
    pulses.roll(BEGIN_MS + 10**12, none_runs)
    assert len(pulses.all(0)) == 2
    pulses.roll(BEGIN_MS + 10**12 - 60_000, none_runs)  # A little back: the one under way goes on.
    assert len(pulses.all(0)) == 2
    pulses.roll(BEGIN_MS, none_runs)
    assert pulses.all(0)[-1].at == to_rfc3339(BEGIN_MS)


def test_rates_are_of_the_last_minute() -> None:
    pulses = Pulses(BEGIN_MS)
    pulses.placed(3)
    pulses.placed(3)
    pulses.finished(ended(Outcome.DONE, partition=3))
    assert (pulses.per_minute(3), pulses.per_minute(0)) == ((2.0, 1.0), (0.0, 0.0))
    pulses.roll(BEGIN_MS + 5 * limits.PULSE_MS, none_runs)
    assert pulses.per_minute(3) == (2.0, 1.0)
    pulses.roll(BEGIN_MS + 6 * limits.PULSE_MS, none_runs)
    assert pulses.per_minute(3) == (0.0, 0.0)


def test_of_a_flood_it_is_told_how_many_there_were() -> None:
    notes = Notes(NOW_MS)
    notes.roll(NOW_MS)
    for _ in range(limits.NOTES_PER_SECOND_MAX + 37):
        notes.finished(ended(Outcome.FAILED), 0, 0)
    assert notes.told == limits.NOTES_PER_SECOND_MAX
    notes.roll(NOW_MS + 1_000)
    notes.finished(ended(Outcome.DONE), 1, 1)
    assert [note.text for note in notes.since(limits.NOTES_PER_SECOND_MAX - 1)] == [
        "it failed",
        "37 more in this second",
    ]
    notes.finished(ended(Outcome.FAILED), 2, 3)
    assert notes.all()[-1].text == "it failed, try 2 of 3"
    for second in range(2, 12):
        notes.roll(NOW_MS + 1_000 * second)
        for _ in range(limits.NOTES_PER_SECOND_MAX):
            notes.finished(ended(Outcome.FAILED), 0, 0)
    assert len(notes.all()) == limits.NOTES_KEPT
    assert len(notes.since(0)) == limits.NOTES_IN_FRAME_MAX
    assert notes.since(notes.told) == []


def test_only_the_first_line_of_an_error_is_told() -> None:
    notes = Notes(NOW_MS)
    notes.roll(NOW_MS)
    long = msgspec.structs.replace(ended(Outcome.FAILED), error="\n" + "x" * 9_999 + "\nmore")
    notes.finished(long, 0, 0)
    assert notes.all()[0].text == "x" * limits.NOTE_CHARS_MAX


def test_what_was_before_is_no_news() -> None:
    notes = Notes(NOW_MS)
    notes.roll(NOW_MS)
    changes = RULES.changes or ()
    notes.changed(tuple(msgspec.structs.replace(each, at_ms=NOW_MS - 1) for each in changes))
    notes.joined(msgspec.structs.replace(WORKER, connected_ms=NOW_MS - 1), NOW_MS)
    assert notes.all() == []
    notes.changed(changes)
    notes.changed(changes)
    notes.joined(WORKER, NOW_MS)
    notes.left("w1", "", NOW_MS)
    assert [(note.kind, note.text) for note in notes.all()] == [
        ("class_changed", "slow now: its jobs are expected to take 20 s now"),
        ("worker_joined", "joined from here with 2 slots"),
        ("worker_left", "it left"),
    ]
