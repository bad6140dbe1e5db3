"""Decides what is one of our records, and that wrong ones, well-formed or not, stop no decision."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.api.live.activity import Notes, Pulses
from control.api.live.worker_registry import Crew
from control.api.metrics import Metrics
from control.core.balancer.balancer import Balancer
from control.core.balancer.policy import Policy
from control.core.balancer.queue_survey import Survey
from control.core.dispatcher.effects import StepEffects
from control.core.dispatcher.leases import Leases
from control.core.dispatcher.worker_names import Admissions
from control.core.fleet.partition_classes import partition_classes
from control.core.records.foreign import CARRIES, Foreign, dead_letter, read
from control.model import limits
from control.model.bus.messages import (
    ENCODER,
    CancelJob,
    ClientChanged,
    Deadline,
    DispatcherUp,
    DrainWorker,
    Finished,
    JobReady,
    Learned,
    Message,
    Overran,
    Placed,
    ReorderJob,
    SplitChanged,
    Started,
    WorkerDown,
    WorkerQuiet,
    WorkerUp,
)
from control.model.bus.records import Delivery
from control.model.names import Topic
from control.model.numbers import RunId
from control.services.statistics import fact_of
from tests.core.records.foreign_messages import TYPES, Sample, impossible, topic_of, well_formed

NOW_MS = 1_800_000_000_000
PARTITIONS = 4
COMMAND = {"type": "deadline", "schema": 1, "run_id": 7, "at_ms": 9}


def encoded(**changes: object) -> bytes:
    return json.dumps(COMMAND | changes).encode()


def test_every_message_belongs_on_a_topic() -> None:
    assert {topic_of(cls) for cls in TYPES} <= set(Topic)
    assert set(CARRIES) == set(Topic)


def test_a_newer_service_may_add_a_field() -> None:
    assert read(Topic.TASK_COMMANDS, encoded(more=1)) == Deadline(run_id=RunId(7), at_ms=9)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (b"", "truncated"),
        (b"\xff", "decode byte 0xff"),
        (b"[" * 100_000, "got `array`"),
        (encoded(schema=2), "its schema is 2; this version reads schema 1"),
        (encoded(schema=2**70), "its schema is 1180591620717411303424"),
        (encoded(type="job_ended"), "Invalid value 'job_ended'"),
        (encoded(run_id=-1), r">= 0 - at `\$.run_id`"),
        (encoded(run_id=2**64), r"\$.run_id"),
        (encoded(at_ms=limits.TIME_MS_MAX + 1), r"\$.at_ms"),
        (encoded(at_ms=1.5), r"\$.at_ms"),
        (
            b'{"type":"progressed","run_id":1,"job_id":1,"attempt":1,"progress":1e999}',
            "out of range",
        ),
        (b'{"type":"progressed","run_id":1,"job_id":1,"attempt":1,"progress":NaN}', "malformed"),
        (b'{"type":"drain_worker","worker":"\\ud800"}', "truncated"),
    ],
)
def test_what_cannot_be_used_is_refused_in_words(value: bytes, why: str) -> None:
    with pytest.raises(Foreign, match=why):
        read(Topic.TASK_COMMANDS, value)


def test_a_type_belongs_on_its_topic_only() -> None:
    with pytest.raises(Foreign, match="a record of type deadline does not belong on task_runs"):
        read(Topic.TASK_RUNS, encoded())


def test_a_dead_letter_says_how_much_was_cut_off() -> None:
    value = b"x" * (limits.DEAD_LETTER_BYTES_MAX + 1)
    letter = dead_letter((Topic.TASK_RUNS, 1, 2), "7", value, "no", -1)
    assert (letter.size, len(letter.value)) == (len(value), limits.DEAD_LETTER_BYTES_MAX)
    assert (letter.topic, letter.partition, letter.offset) == ("task_runs", 1, 2)
    assert letter.at_ms == 0  # Kafka's word for a record without a time is -1.
    assert read(Topic.TASK_DEAD_LETTERS, ENCODER.encode(letter)) == letter
    assert dead_letter((Topic.TASK_RUNS, 0, 0), None, b"\xff", "no", 0).encoding == "base64"


@given(impossible())
def test_a_number_that_fits_nowhere_is_refused_and_raises_nothing_else(sample: Sample) -> None:
    topic, value = sample
    try:
        message = read(topic, value)
    except Foreign:
        return
    assert read(topic, ENCODER.encode(message)) == message  # It had none.


class Cores:
    """All that decides by what is on the bus, without its shell."""

    def __init__(self) -> None:
        self.balancer = Balancer(Policy(partitions=PARTITIONS))
        self.leases = Leases("d", partition_classes(PARTITIONS, 0.6), NOW_MS)
        self.admissions = Admissions(self.leases)
        self.metrics, self.pulses, self.notes = Metrics(), Pulses(NOW_MS), Notes(NOW_MS)
        self.crew = Crew(self.notes, lambda: NOW_MS)
        self.place = 0

    def take(self, message: Message) -> None:
        """One message reaches everybody."""
        self.place += limits.PARTITIONS_MAX
        self.balance(message)
        self.dispatch(message)
        self.show(message)
        fact_of(Delivery(message, Topic.TASK_RUN_RESULTS, 0, 0))

    def balance(self, message: Message) -> None:  # noqa: PLR0912 - One line a type.
        core = self.balancer
        match message:
            case JobReady():
                core.submit(message, self.place)
            case CancelJob():
                core.cancel(message.job_id, message.attempt)
            case ReorderJob():
                core.reorder(message.job_id, message.order)
            case ClientChanged():
                core.client_changed(message.client, message.priority, message.max_running)
            case SplitChanged():
                core.split(message.slow_share)
            case DrainWorker():
                core.drain(message.worker)
            case Finished():
                core.finished(message, NOW_MS)
            case WorkerUp():
                core.worker_up(message)
            case WorkerDown():
                core.worker_down(message.worker, message.dispatcher)
            case Overran():
                core.overran(message.worker, message.job_ids)
            case DispatcherUp():
                core.dispatcher_up(message)
            case Learned():
                core.recall(message.durations)
            case _:
                pass
        core.assign(NOW_MS, 10)
        core.partitions()
        core.rules()
        survey = Survey(core, None)
        while survey.step():
            pass
        survey.result(10, NOW_MS)

    def dispatch(self, message: Message) -> None:
        out, leases = StepEffects(), self.leases
        match message:
            case Placed():
                leases.place(message, self.place, out, NOW_MS)
            case CancelJob():
                leases.cancel(message, out)
            case DrainWorker():
                leases.drain(message.worker, out)
            case _:
                leases.heard(message, out, NOW_MS)
                self.admissions.apply_announcement(message)
        leases.announce(out)
        leases.expire(out, NOW_MS + 60_000)
        # What we say of it must be readable for others.
        for record in out.records:
            assert read(record.topic, ENCODER.encode(record.message)) == record.message

    def show(self, message: Message) -> None:
        match message:
            case Finished():
                self.metrics.finished(message)
                self.pulses.finished(message)
                self.notes.finished(message, *self.crew.tries(message))
                self.crew.ended(message.job_id, message.attempt)
            case Placed():
                self.pulses.placed(message.partition)
                self.crew.placed(message)
            case Started():
                self.crew.started(message)
            case WorkerUp():
                self.crew.worker_up(message)
            case WorkerDown():
                self.crew.worker_down(message)
            case WorkerQuiet():
                self.crew.quiet(message)
            case DispatcherUp():
                self.crew.dispatcher_up(message)
            case _:
                pass
        msgspec.json.encode((self.crew.workers(), self.crew.heads(), self.notes.all()))


@pytest.mark.slow
@given(st.lists(well_formed(), max_size=20))
def test_well_formed_records_that_are_wrong_stop_no_decision(samples: list[Sample]) -> None:
    cores = Cores()
    for topic, value in samples:
        cores.take(read(topic, value))
