"""Decides how the worker's half of the protocol must behave, whatever frames come."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.model import limits
from control.model.errors import ProtocolError
from control.model.states import Outcome
from control.model.worker import wire
from control.model.worker.wire import (
    Ack,
    Began,
    Cancel,
    Drain,
    Ended,
    HandedBack,
    Hello,
    Lease,
    Leaving,
    Log,
    Progress,
    Refused,
    TakeBack,
    ToWorker,
    Welcome,
)
from tests.workers.gateways import WELCOME, assign, decoded, encoded, lease
from workers.logs import LogBuffer
from workers.protocol import WorkerIdentity, WorkerProtocol
from workers.protocol_events import Assigned, Forgotten, Phase, Stop
from workers.wakeup import Doorbell

IDENTITY = WorkerIdentity(
    worker="w", host="h", slots=2, labels=("gpu",), kinds={"Sleep": ("1.0.0",)}
)


def connected(results: dict[Lease, bytes] | None = None) -> WorkerProtocol:
    protocol = WorkerProtocol(IDENTITY, LogBuffer(Doorbell()), results)
    protocol.hello(0)
    protocol.receive(encoded(WELCOME), 0)
    return protocol


def ended(job_id: int, outcome: Outcome = Outcome.DONE) -> Ended:
    return Ended(lease=lease(job_id), outcome=outcome, finished_ms=5, duration=0.1)


def hello_of(protocol: WorkerProtocol) -> Hello:
    (hello,) = decoded(protocol.hello(7))
    assert isinstance(hello, Hello)
    return hello


def said(protocol: WorkerProtocol) -> list[wire.FromWorker]:
    frames: list[wire.FromWorker] = []
    while (message := protocol.take()) is not None:
        frames += decoded(message)
    return frames


def test_an_attempt_goes_from_assignment_to_acknowledgement() -> None:
    protocol = connected()
    assert protocol.receive(encoded(assign(1), assign(2)), 0) == [Assigned()]
    first = protocol.begin(3)
    assert first is not None
    assert first.lease == lease(1)
    assert said(protocol) == [Began(lease=lease(1), started_ms=3)]
    protocol.end(ended(1))
    assert said(protocol) == []  # Not before it is on disk.
    assert [at for at, _ in protocol.unkept()] == [lease(1)]
    assert said(protocol) == [ended(1)]
    assert hello_of(protocol).holding == (lease(2), lease(1))
    protocol.receive(encoded(WELCOME), 0)
    assert said(protocol) == [ended(1)]
    assert protocol.receive(encoded(Ack(leases=(lease(1),))), 0) == [Forgotten((lease(1),))]
    assert hello_of(protocol).holding == (lease(2),)


def test_an_attempt_waits_until_an_earlier_one_of_its_job_has_stopped() -> None:
    protocol = connected()
    protocol.receive(encoded(assign(1)), 0)
    protocol.begin(0)
    protocol.hello(0)
    # Its lease was given away while it was out of reach; what it executes takes a while to stop.
    first, second = lease(1), lease(1, attempt=2)
    protocol.receive(encoded(msgspec.structs.replace(WELCOME, drop=(first,))), 0)
    protocol.receive(encoded(msgspec.structs.replace(assign(1), lease=second), assign(2)), 0)
    begun = protocol.begin(0)
    assert begun is not None
    assert begun.lease == lease(2)
    assert protocol.begin(0) is None
    assert hello_of(protocol).holding == (lease(2), second)
    protocol.end(ended(1, Outcome.CANCELLED))
    assert protocol.waiting
    begun = protocol.begin(0)
    assert begun is not None
    assert begun.lease == second
    assert not protocol.unkept()  # Of the dropped one nobody hears.


def test_a_start_is_not_told_when_the_result_travels_with_it() -> None:
    protocol = connected()
    protocol.receive(encoded(assign(1)), 0)
    protocol.begin(3)
    protocol.end(ended(1))
    protocol.unkept()
    assert said(protocol) == [ended(1)]


def test_logs_go_out_before_the_result_of_their_attempt() -> None:
    protocol = connected()
    protocol.receive(encoded(assign(1)), 0)
    protocol.begin(3)
    for number in range(40):
        text = "x" * limits.PIECE_BYTES
        protocol.logs.add(lease(1), number * len(text), text, len(text))
    protocol.end(ended(1))
    protocol.unkept()
    kinds = [type(frame) for frame in said(protocol)]
    assert kinds[-1] is Ended
    assert kinds.count(Log) == 40
    assert kinds[0] is Began  # The result has to wait for the logs, and the start does not.


def test_progress_is_coalesced_and_bounded() -> None:
    protocol = connected()
    protocol.receive(encoded(assign(1)), 0)
    protocol.begin(3)
    protocol.progress(lease(1), 0.2)
    protocol.progress(lease(1), 7)
    protocol.progress(lease(2), 0.5)
    assert said(protocol)[1:] == [Progress(lease=lease(1), progress=1.0)]


def test_a_new_gateway_is_told_again_what_runs() -> None:
    protocol = connected()
    protocol.receive(encoded(assign(1)), 0)
    protocol.begin(3)
    said(protocol)
    protocol.disconnected()
    assert protocol.take() is None
    assert hello_of(protocol).holding == (lease(1),)
    protocol.receive(encoded(WELCOME), 0)
    assert said(protocol) == [Began(lease=lease(1), started_ms=3)]


def test_dropped_leases_are_stopped_and_never_reported() -> None:
    protocol = connected()
    protocol.receive(encoded(assign(1), assign(2), assign(3)), 0)
    protocol.begin(3)
    protocol.begin(3)
    protocol.end(ended(2))
    protocol.unkept()
    protocol.disconnected()
    protocol.hello(0)
    drop = (lease(1), lease(2), lease(3), lease(99))
    events = protocol.receive(encoded(Welcome(version=1, dispatcher="d", drop=drop)), 0)
    assert [event.lease for event in events if isinstance(event, Stop)] == [lease(1)]
    assert Forgotten(drop) in events
    protocol.end(ended(1, Outcome.CANCELLED))
    assert protocol.unkept() == []
    assert said(protocol) == []
    assert protocol.idle
    assert protocol.begin(0) is None


def test_a_waiting_attempt_is_cancelled_without_beginning() -> None:
    protocol = connected()
    protocol.receive(encoded(assign(1)), 0)
    assert protocol.receive(encoded(Cancel(lease=lease(1), reason="by ada")), 9) == []
    protocol.unkept()
    (result,) = said(protocol)
    assert isinstance(result, Ended)
    assert (result.outcome, result.error, result.started_ms) == (Outcome.CANCELLED, "by ada", None)


def test_a_running_attempt_is_asked_to_stop() -> None:
    protocol = connected()
    protocol.receive(encoded(assign(1)), 0)
    protocol.begin(0)
    assert protocol.receive(encoded(Cancel(lease=lease(1), reason="why")), 9) == [
        Stop(lease(1), "why")
    ]
    assert protocol.receive(encoded(Cancel(lease=lease(5), reason="why")), 9) == []


def test_only_what_has_not_begun_is_taken_back() -> None:
    protocol = connected()
    protocol.receive(encoded(assign(1), assign(2)), 0)
    protocol.begin(0)
    said(protocol)
    protocol.receive(encoded(TakeBack(leases=(lease(1), lease(2), lease(3)))), 0)
    assert said(protocol) == [HandedBack(leases=(lease(2),))]
    assert protocol.begin(0) is None


def test_draining_hands_back_and_takes_nothing_new() -> None:
    protocol = connected()
    protocol.receive(encoded(assign(1), assign(2)), 0)
    protocol.begin(0)
    said(protocol)
    protocol.drain()
    protocol.drain()
    assert said(protocol) == [HandedBack(leases=(lease(2),)), Leaving()]
    protocol.receive(encoded(assign(3)), 0)
    assert said(protocol) == [HandedBack(leases=(lease(3),))]
    assert not protocol.idle
    protocol.end(ended(1))
    protocol.unkept()
    said(protocol)
    assert (protocol.idle, protocol.finished) == (True, False)
    assert hello_of(protocol).draining
    protocol.receive(encoded(WELCOME, Ack(leases=(lease(1),))), 0)
    said(protocol)
    assert protocol.finished


def test_what_is_assigned_twice_is_executed_once() -> None:
    protocol = connected()
    protocol.receive(encoded(assign(1), assign(1)), 0)
    assert protocol.begin(0) is not None
    protocol.receive(encoded(assign(1)), 0)
    assert protocol.begin(0) is None
    protocol.end(ended(1))
    protocol.unkept()
    said(protocol)
    protocol.receive(encoded(assign(1)), 0)
    assert said(protocol) == [ended(1)]  # It is done: the gateway did not know.


def test_more_than_the_queue_holds_is_handed_back() -> None:
    protocol = connected()
    room = IDENTITY.slots + limits.PREFETCH_JOBS_MAX
    for job_id in range(room + 100):
        protocol.receive(encoded(assign(job_id)), 0)
    given = [at for frame in said(protocol) if isinstance(frame, HandedBack) for at in frame.leases]
    assert given == [lease(job_id) for job_id in range(room, room + 100)]


def test_results_of_an_earlier_process_are_sent_after_the_welcome() -> None:
    frame = wire.ENCODER.encode(ended(1))
    protocol = connected({lease(1): frame})
    assert said(protocol) == [ended(1)]


@pytest.mark.parametrize(
    "message",
    [b"", b"{}", b"[1]", b'[{"t":"nothing"}]', b'[{"t":"drain","more":1}]', b"\xff", "[\ud800]"],
)
def test_a_malformed_message_is_refused(message: bytes | str) -> None:
    with pytest.raises(ProtocolError, match="malformed"):
        connected().receive(message, 0)


def test_too_many_frames_are_refused() -> None:
    with pytest.raises(ProtocolError):
        connected().receive(encoded(*[Drain()] * (limits.FRAME_MESSAGES_MAX + 1)), 0)


@pytest.mark.parametrize(
    "frame", [assign(1), Ack(leases=()), Cancel(lease=lease(1), reason=""), TakeBack(leases=())]
)
def test_nothing_comes_before_the_welcome(frame: ToWorker) -> None:
    protocol = WorkerProtocol(IDENTITY, LogBuffer(Doorbell()))
    protocol.hello(0)
    with pytest.raises(ProtocolError):
        protocol.receive(encoded(frame), 0)
    assert protocol.begin(0) is None


def test_a_refusal_and_a_foreign_version_end_the_greeting() -> None:
    protocol = WorkerProtocol(IDENTITY, LogBuffer(Doorbell()))
    protocol.hello(0)
    assert protocol.receive(encoded(Refused(reason="no")), 0) == [Refused(reason="no")]
    assert protocol.phase is Phase.REFUSED
    protocol.hello(0)
    with pytest.raises(ProtocolError, match="version"):
        protocol.receive(encoded(Welcome(version=2, dispatcher="d")), 0)


STEPS = st.lists(
    st.one_of(
        st.sampled_from(["begin", "end", "keep", "take", "reconnect", "cut", "drain"]),
        st.builds(
            lambda frames: encoded(*frames),
            st.lists(
                st.one_of(
                    st.builds(assign, st.integers(0, 5)),
                    st.builds(lambda at: Ack(leases=(lease(at),)), st.integers(0, 5)),
                    st.builds(lambda at: Cancel(lease=lease(at), reason="r"), st.integers(0, 5)),
                    st.builds(lambda at: TakeBack(leases=(lease(at),)), st.integers(0, 5)),
                    st.just(Drain()),
                    st.just(WELCOME),
                ),
                max_size=4,
            ),
        ),
        st.binary(max_size=4),
    ),
    max_size=40,
)


@given(STEPS)
def test_any_sequence_keeps_every_lease_in_one_place(steps: list[str | bytes]) -> None:
    protocol = WorkerProtocol(IDENTITY, LogBuffer(Doorbell()))
    running: list[Lease] = []
    for step in steps:
        _take_step(protocol, step, running)
        holding = hello_of(_copy(protocol)).holding
        assert len(set(holding)) == len(holding)
        assert set(running) <= set(holding)
        assert protocol.idle == (not running and not protocol.waiting)


def _take_step(protocol: WorkerProtocol, step: str | bytes, running: list[Lease]) -> None:
    match step:
        case "begin":
            begun = protocol.begin(1)
            running += [begun.lease] if begun else []
        case "end" if running:
            protocol.end(ended(running.pop(0).job_id))
        case "keep":
            protocol.unkept()
        case "take":
            said(protocol)
        case "reconnect":
            protocol.disconnected()
            protocol.hello(0)
            protocol.receive(encoded(WELCOME), 0)
        case "cut":
            protocol.disconnected()
        case "drain":
            protocol.drain()
        case bytes():
            try:
                protocol.receive(step, 2)
            except ProtocolError:
                protocol.disconnected()


def _copy(protocol: WorkerProtocol) -> WorkerProtocol:
    """A look at what it would say, which `hello` itself changes."""
    twin = WorkerProtocol.__new__(WorkerProtocol)
    twin.__dict__.update(protocol.__dict__)
    return twin
