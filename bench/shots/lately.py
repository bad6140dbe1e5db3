"""Owns what has happened lately in the made-up system: pulses, notes, attempts, nights."""

import msgspec

from bench.shots.moments import at
from bench.shots.runs import runs
from control.model.api.live import Note, Pulse
from control.model.api.reports import WorkerAttempt
from control.model.api.views import RunView, StageView
from control.model.numbers import JobId, RunId
from control.model.states import Outcome, State


def pulses() -> list[Pulse]:
    """A quarter of an hour in which ever more waited."""
    return [
        Pulse(
            at=at(10 * (place - 90) - 7),
            ended=3950 + place * 2 + place * 37 % 23 * 17 if place < 90 else 2860,  # noqa: PLR2004
            attempts=3950 + place * 2 + place * 37 % 23 * 17 + (place % 13 == 5),  # noqa: PLR2004
            errors=1 if place % 8 == 5 else 0,  # noqa: PLR2004
            retries=1 if place % 13 == 5 else 0,  # noqa: PLR2004
            waiting=900 + place * 34 - place * 29 % 17 * 9,
            running=180,
        )
        for place in range(91)
    ]


def notes() -> list[Note]:
    """What happened last, the newest last."""
    return [
        Note(at=at(-2336), kind="worker_left", text="silent for 10 s", worker="w-08"),
        Note(at=at(-16), kind="worker_joined", text="4 slots, gpu", worker="w-61"),
        Note(
            at=at(-9),
            kind="class_changed",
            text="fast, now slow: expected 41 s",
            pipeline="media",
            job="transcode",
        ),
        Note(
            at=at(-1),
            kind="job_failed",
            text="exit code 137, try 1 of 3",
            pipeline="media",
            job="transcode",
            run_id=RunId(90397),
            job_id=JobId(81233),
            worker="w-45",
        ),
    ]


def history() -> list[WorkerAttempt]:
    """What w-45 has executed in the last quarter of an hour."""
    found = []
    for slot in range(3):
        end, number = -900.0, 0
        while end < -35:  # noqa: PLR2004 - up to what runs now.
            seconds = 31 + (number * 17 + slot * 29) % 23
            idle = 12 if number % 9 == 4 else 0  # noqa: PLR2004
            begin, end = end + idle, end + idle + seconds
            failed = slot == 1 and number == 11  # noqa: PLR2004
            found.append(
                WorkerAttempt(
                    job_id=80900 + slot * 40 + number,
                    run_id=90397,
                    attempt=1,
                    pipeline="docs" if slot == 1 else "media",
                    job="pdf.render" if slot == 1 else "transcode",
                    outcome=Outcome.FAILED if failed else Outcome.DONE,
                    started_at=at(begin),
                    finished_at=at(min(end, -7.0)),
                )
            )
            number += 1
    return found


def nightly_runs() -> list[RunView]:
    """The last 14 nights of nightly-report, the newest first: ever slower, one of them failed."""
    base = next(run for run in runs() if run.pipeline == "nightly-report")
    found = []
    for nights in range(14):
        begin = -38_467.0 - nights * 86_400
        failed = nights == 7  # noqa: PLR2004 - a week ago.
        state = State.ERROR if failed else State.DONE
        found.append(
            msgspec.structs.replace(
                base,
                id=90_100 - nights * 220,
                state=state,
                schedule_id=5,
                stages=[StageView(name="pull", counts={state: 4})],
                created_at=at(begin),
                started_at=at(begin),
                finished_at=at(begin + 3740 - nights * 95 + nights % 3 * 40),
                expected_seconds=None,
            )
        )
    return found
