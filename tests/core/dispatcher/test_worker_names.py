"""Decides that a worker's name has one owner, and that nobody waits for it for ever."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from control.core.dispatcher.effects import StepEffects
from control.core.dispatcher.leases import Leases
from control.core.dispatcher.worker_names import (
    Admissions,
    Admitted,
    NamePending,
    NameRefusal,
    Verdict,
)
from control.model import limits
from control.model.bus.messages import (
    DECODER,
    ENCODER,
    DispatcherUp,
    Placed,
    WorkerDown,
    WorkerQuiet,
    WorkerUp,
)
from control.model.worker import wire
from tests.core.dispatcher.leasing import CLASSES, LATER, assigned, hello, placed

ANSWER_MS = round((limits.QUIET_S + limits.ANSWER_S) * 1000)


class House:
    """A dispatcher, and those who connect to it."""

    def __init__(self, partitions: frozenset[int] | None = None) -> None:
        self.leases = Leases("d1", CLASSES, 0, partitions)
        self.admissions = Admissions(self.leases)

    def apply(
        self, client: str, instance: str, *holding: wire.Lease, now_ms: int = 0, quiet: bool = False
    ) -> Verdict:
        verdict = self.admissions.apply("w", client, instance, now_ms=now_ms, quiet=quiet)
        if isinstance(verdict, Admitted):
            self.connect(client, instance, *holding, now_ms=now_ms)
        return verdict

    def connect(
        self, client: str, instance: str, *holding: wire.Lease, now_ms: int = 0
    ) -> wire.Welcome:
        out = StepEffects()
        said = hello("w", *holding, now_ms=now_ms, instance=instance)
        self.leases.connected(said, out, now_ms, client)
        welcome = out.frames["w"][0]
        assert isinstance(welcome, wire.Welcome)
        return welcome

    def close(self, now_ms: int = 0) -> None:
        self.leases.disconnected("w", "closed", StepEffects(), now_ms)


def test_a_name_that_is_free_is_anybodys() -> None:
    assert House().apply("wk", "a") == Admitted()


def test_who_comes_back_has_its_name_at_once() -> None:
    house = House()
    house.apply("wk", "a")
    assert house.apply("wk", "a") == Admitted()


@pytest.mark.parametrize("instance", ["a", "b", ""])
def test_another_client_never_gets_it(instance: str) -> None:
    house = House()
    house.apply("wk", "a")
    verdict = house.apply("wk2", instance, quiet=True)
    assert isinstance(verdict, NameRefusal)
    assert "another client" in verdict.reason


def test_another_process_is_refused_once_the_first_speaks() -> None:
    house = House()
    house.apply("wk", "a")
    assert house.apply("wk", "b") == NamePending()
    assert house.admissions.due(LATER) == []
    refusal = house.admissions.message_received("w")
    assert refusal is not None
    assert "is connected already, from h" in refusal.reason
    assert house.admissions.message_received("w") is None  # Once.


def test_another_process_gets_in_once_the_first_is_silent_or_gone() -> None:
    house = House()
    house.apply("wk", "a")
    assert house.apply("wk", "b") == NamePending()
    assert house.apply("wk", "b", quiet=True) == Admitted()
    assert house.apply("wk", "c") == NamePending()
    house.close()
    assert house.admissions.due(0) == [("w", Admitted())]


def test_only_one_waits_for_a_name() -> None:
    house = House()
    house.apply("wk", "a")
    house.apply("wk", "b")
    assert isinstance(house.apply("wk", "c"), NameRefusal)
    house.admissions.withdraw("w")
    assert house.apply("wk", "c") == NamePending()


def test_workers_of_an_earlier_version_wait_for_proof() -> None:
    house = House()
    house.apply("wk", "")
    assert house.apply("wk", "") == NamePending()
    assert house.apply("wk", "", quiet=True) == Admitted()


def test_a_name_is_kept_while_leases_wait_for_their_worker() -> None:
    house, out = House(), StepEffects()
    house.apply("wk", "a")
    job = placed(5, "w", owner="wk", nonce=77)
    house.leases.place(job, 0, out, 0)
    house.close(100)
    assert isinstance(house.apply("wk2", "b", now_ms=101), NameRefusal)
    assert house.apply("wk", "b", now_ms=102) == Admitted()


def test_nobody_else_claims_a_lease_after_a_restart() -> None:
    """The record was read back, and its worker is still on the way."""
    house, out = House(), StepEffects()
    house.leases.place(placed(5, "w", owner="wk", nonce=77), 0, out, 0)
    assert isinstance(house.apply("wk2", "x"), NameRefusal)
    for guess in (0, 1, 76, 78, 10_000):
        house.connect("wk", "y", wire.Lease(5, 1, guess))
        held = house.leases.holdings.held[wire.Lease(5, 1, 77)]
        assert held.worker is None


def test_a_claim_of_another_client_is_void_when_the_record_comes() -> None:
    house, out, lease = House(), StepEffects(), wire.Lease(5, 1, 77)
    house.connect("wk2", "x", lease)  # Before anything was read back.
    ended = wire.Ended(lease=lease, outcome="done", finished_ms=1, duration=0.1)  # type: ignore[arg-type]
    house.leases.ended("w", ended, out, 1)
    house.leases.place(placed(5, "w", owner="wk", nonce=77), 0, out, 2)
    assert not out.records
    assert house.leases.holdings.held[lease].worker is None
    assert not assigned(out, "w")  # Nor is it sent to a worker of the wrong client.


def test_a_lease_of_the_version_before_is_still_claimed() -> None:
    house, out, lease = House(), StepEffects(), wire.Lease(5, 1, 0)
    house.leases.place(placed(5, "w"), 0, out, 0)
    assert house.connect("wk", "a", lease).drop == ()
    assert house.leases.holdings.held[lease].worker == "w"


# Elsewhere.


def up(client: str = "wk", instance: str = "a", connected_ms: int = 0) -> WorkerUp:
    return WorkerUp(
        worker="w",
        dispatcher="d2",
        host="far",
        slots=1,
        labels=(),
        kinds=(),
        partitions=(1,),
        draining=False,
        connected_ms=connected_ms,
        client=client,
        instance=instance,
    )


def house_beside(info: WorkerUp) -> House:
    house = House(frozenset({0}))
    hear(house, DispatcherUp(dispatcher="d2", partitions=(1, 2), workers=(info,), adrift=()))
    return house


def hear(house: House, message: DispatcherUp | WorkerDown | WorkerQuiet | WorkerUp) -> None:
    house.leases.heard(message, StepEffects(), 0)
    house.admissions.apply_announcement(message)


def test_elsewhere_the_same_process_may_move_and_another_client_may_not() -> None:
    house = house_beside(up())
    assert isinstance(house.apply("wk2", "b"), NameRefusal)
    assert house.apply("wk", "a") == Admitted()


def test_elsewhere_a_worker_that_is_confirmed_keeps_its_name() -> None:
    house = house_beside(up())
    assert house.apply("wk", "b", now_ms=10) == NamePending(ask=True)
    hear(house, DispatcherUp(dispatcher="d2", partitions=(1, 2), workers=(up(),), adrift=()))
    assert house.admissions.due(10 + ANSWER_MS - 1) == []
    assert house.admissions.next_ms() == 10 + ANSWER_MS
    ((name, verdict),) = house.admissions.due(10 + ANSWER_MS)
    assert name == "w"
    assert isinstance(verdict, NameRefusal)
    assert "from far" in verdict.reason


def test_elsewhere_a_dead_dispatcher_keeps_no_name() -> None:
    house = house_beside(up())
    house.apply("wk", "b", now_ms=10)
    assert house.admissions.due(10 + ANSWER_MS) == [("w", Admitted())]


@pytest.mark.parametrize(
    "news",
    [
        WorkerQuiet(worker="w", dispatcher="d2", since_ms=1),
        WorkerDown(worker="w", dispatcher="d2", reason="closed"),
        DispatcherUp(dispatcher="d2", partitions=(1, 2), workers=(), adrift=()),
    ],
)
def test_elsewhere_who_is_silent_or_gone_keeps_no_name(
    news: DispatcherUp | WorkerDown | WorkerQuiet,
) -> None:
    house = house_beside(up())
    house.apply("wk", "b", now_ms=10)
    hear(house, news)
    assert house.admissions.due(11) == [("w", Admitted())]


def test_of_two_clients_at_two_dispatchers_the_first_to_come_has_the_name() -> None:
    for theirs_ms, here in ((50, False), (150, True)):
        house = House(frozenset({0}))
        house.connect("wk", "a", now_ms=100)
        hear(house, up("wk2", "b", connected_ms=theirs_ms))
        assert ("w" in house.leases.links) == here


def test_a_process_that_moves_is_where_its_newest_connection_is() -> None:
    for theirs_ms, here in ((50, True), (150, False)):
        house = House(frozenset({0}))
        house.connect("wk", "a", now_ms=100)
        hear(house, up("wk", "a", connected_ms=theirs_ms))
        assert ("w" in house.leases.links) == here


def test_a_lease_does_not_follow_a_name_to_another_client() -> None:
    for client, follows in (("wk", True), ("wk2", False)):
        house, out = house_beside(up(client)), StepEffects()
        house.leases.place(placed(5, "w", owner="wk", nonce=77), 0, out, LATER)
        moved = [each for each in out.records if isinstance(each.message, Placed)]
        assert bool(moved) == follows


def test_who_waits_here_for_one_that_moves_elsewhere_is_decided_in_time() -> None:
    house = house_beside(up(connected_ms=5))
    house.connect("wk", "a", now_ms=10)
    assert house.apply("wk", "b", now_ms=20) == NamePending()
    hear(house, up("wk", "a", connected_ms=30))
    assert house.admissions.due(40) == []
    hear(house, up("wk", "a", connected_ms=30))
    assert house.admissions.next_ms() == 40 + ANSWER_MS
    ((_, verdict),) = house.admissions.due(40 + ANSWER_MS)
    assert isinstance(verdict, NameRefusal)


def test_a_placement_that_the_version_before_wrote_is_still_read() -> None:
    text = ENCODER.encode(placed(5, "w")).replace(b',"nonce":0,"owner":""', b"")
    assert b"nonce" not in text
    assert DECODER.decode(text) == placed(5, "w")
    assert placed(5, "w").epoch_at(7) == 7
    assert placed(5, "w", nonce=9).epoch_at(7) == 9


class Lives(RuleBasedStateMachine):
    """Processes of two clients come, speak, fall silent, and go, all under one name."""

    def __init__(self) -> None:
        super().__init__()
        self.house = House()
        self.now_ms = 0
        self.client: str | None = None
        self.instance = ""
        self.applicant: tuple[str, str] | None = None

    @rule(
        client=st.sampled_from(["wk", "wk2"]), instance=st.sampled_from("ab"), quiet=st.booleans()
    )
    def apply(self, client: str, instance: str, *, quiet: bool) -> None:
        verdict = self.house.apply(client, instance, now_ms=self.now_ms, quiet=quiet)
        if isinstance(verdict, Admitted):
            assert self.client in {None, client}
            assert self.client is None or quiet or instance == self.instance
            self.client, self.instance = client, instance
            if self.applicant == (client, instance):
                self.applicant = None
        elif isinstance(verdict, NamePending):
            self.applicant = (client, instance)

    @rule()
    def speak(self) -> None:
        if self.client is not None:
            assert (self.house.admissions.message_received("w") is not None) == (
                self.applicant is not None
            )
            self.applicant = None

    @rule()
    def close(self) -> None:
        if self.client is None:
            return
        self.house.close(self.now_ms)
        self.client = None
        due = self.house.admissions.due(self.now_ms)
        assert len(due) == (self.applicant is not None)
        if self.applicant is not None:
            (self.client, self.instance), self.applicant = self.applicant, None
            self.house.connect(self.client, self.instance, now_ms=self.now_ms)

    @rule(step_ms=st.integers(0, 5_000))
    def time_passes(self, step_ms: int) -> None:
        self.now_ms += step_ms
        self.house.leases.expire(StepEffects(), self.now_ms)

    @invariant()
    def it_is_known_whose_the_name_is(self) -> None:
        link = self.house.leases.links.get("w")
        assert (None if link is None else link.info.client) == self.client


TestLives = Lives.TestCase
