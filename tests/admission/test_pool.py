"""Decides that waiting for a share ends: granted, cancelled, or refused, and gives all back."""

import threading
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from control.admission.lanes import ThreadPool, interruptible
from control.admission.pool import Pool
from control.admission.tally import LimitCounters
from control.api.auth.authentication import Gate, hash_secret
from control.model import limits
from control.model.errors import Busy, Unauthenticated
from control.model.names import Bound, Effect
from control.model.states import Role
from store.clients import StoredSecret

T = TypeVar("T")
HASH = hash_secret("right", bytes(16))


async def test_waiting_ends_with_a_share_or_a_refusal(autojump_clock: MockClock) -> None:
    tally = LimitCounters()
    pool = Pool(Bound.QUERIES, tally, total=2, each=1)
    first = await pool.acquire("a")
    with pytest.raises(Busy, match="a client may hold 1 of 2"):
        await pool.acquire("a")
    assert tally.counts[Bound.QUERIES, Effect.DELAYED] == 1
    assert tally.counts[Bound.QUERIES, Effect.REFUSED] == 1
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pool.acquire, "a")
        await wait_all_tasks_blocked()
        pool.release(first)


async def test_a_cancelled_wait_leaves_nothing_behind(autojump_clock: MockClock) -> None:
    pool = Pool(Bound.QUERIES, LimitCounters(), total=1, each=1)
    async with pool.hold("a"):
        with trio.move_on_after(1):
            await pool.acquire("b")
    async with pool.hold("b"):
        pass


async def test_a_lane_knows_its_oldest_work_and_an_interruption_reaches_only_it() -> None:
    lane, begun, go_on, interrupted = ThreadPool(1), threading.Event(), threading.Event(), 0

    def interrupt() -> None:
        nonlocal interrupted
        interrupted += 1
        go_on.set()

    def work() -> bool:
        begun.set()
        return go_on.wait(60)

    assert lane.oldest_s() == 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(interruptible, work, lane, interrupt))
        nursery.start_soon(partial(interruptible, work, lane, interrupt))
        await trio.to_thread.run_sync(begun.wait)
        assert lane.oldest_s() > 0
        nursery.cancel_scope.cancel()
    assert interrupted == 1, "what had not begun was interrupted as well"
    assert await interruptible(lambda: 7, lane, interrupt) == 7
    assert interrupted == 1


class Logins:
    """A gate, and one client."""

    def __init__(self) -> None:
        self.login: StoredSecret | None = StoredSecret(
            secret_hash=HASH, role=Role.VIEWER, enabled=True
        )
        self.hashed = 0
        self.gate = Gate(self._lookup, self._offload, bytes(32))

    async def _offload(self, work: Callable[[], T]) -> T:
        await trio.lowlevel.checkpoint()
        self.hashed += 1
        return work()

    async def _lookup(self, client_id: str) -> StoredSecret | None:
        await trio.lowlevel.checkpoint()
        return self.login if client_id == "ann" else None

    async def refused(self, client: str, secret: str, address: str = "10.0.0.1") -> type[Exception]:
        with pytest.raises((Unauthenticated, Busy)) as error:
            await self.gate.verify(client, secret, address)
        return error.type


async def test_who_was_right_before_is_let_in_whatever_others_try(mock_clock: MockClock) -> None:
    logins = Logins()
    assert (await logins.gate.verify("ann", "right", "10.0.0.1")).client_id == "ann"
    found = [await logins.refused("ann", f"wrong {number}") for number in range(30)]
    assert Busy in found
    logins.gate.forget()
    assert (await logins.gate.verify("ann", "right", "10.0.0.1")).client_id == "ann"
    assert (await logins.gate.verify("ann", "right", "10.0.0.2")).client_id == "ann"
    logins.login = StoredSecret(
        secret_hash=hash_secret("new", bytes(16)), role=Role.VIEWER, enabled=True
    )
    logins.gate.forget()
    assert await logins.refused("ann", "right", "10.0.0.3") is Unauthenticated


async def test_ids_that_exist_are_refused_as_others_are(mock_clock: MockClock) -> None:
    for client in ("ann", "nobody"):
        logins = Logins()
        found = [await logins.refused(client, f"wrong {n}") for n in range(12)]
        assert found == [Unauthenticated] * limits.LOGIN_TRIES_BURST + [Busy] * 2


async def test_an_address_with_many_wrong_ids_still_lets_right_ones_in(
    mock_clock: MockClock,
) -> None:
    logins = Logins()
    for number in range(limits.LOGIN_ADDRESS_BURST):
        await logins.refused(f"nobody-{number}", "wrong")
    for client in ("ann", "nobody"):  # Both after the same while, and in the same words.
        async with trio.open_nursery() as nursery:
            answered = trio.Event()

            async def ask(client: str = client, answered: trio.Event = answered) -> None:
                assert await logins.refused(client, "wrong") is Busy
                answered.set()

            nursery.start_soon(ask)
            await wait_all_tasks_blocked()
            assert not answered.is_set()
            mock_clock.jump(limits.LOGIN_UNDER_ATTACK_S)
        for number in range(int(limits.LOGIN_ADDRESS_PER_S * limits.LOGIN_UNDER_ATTACK_S)):
            await logins.refused(f"{client}-{number}", "wrong")  # What came in meanwhile.
    assert (await logins.gate.verify("ann", "right", "10.0.0.1")).client_id == "ann"


async def test_many_wrong_ids_at_once_fill_no_line(autojump_clock: MockClock) -> None:
    # From the address of a client whose secret was never verified before.
    logins = Logins()
    let_in = trio.Event()

    async def refused(number: int) -> None:
        await logins.refused(f"nobody-{number}", "wrong")

    async def right() -> None:
        assert (await logins.gate.verify("ann", "right", "10.0.0.1")).client_id == "ann"
        let_in.set()

    async with trio.open_nursery() as nursery:
        for number in range(200):
            nursery.start_soon(refused, number)
        await trio.lowlevel.checkpoint()
        nursery.start_soon(right)
    assert let_in.is_set()
    assert logins.hashed <= limits.LOGIN_ADDRESS_BURST + 1


async def test_the_same_login_is_verified_once_at_a_time(autojump_clock: MockClock) -> None:
    # 200 connections of one client make no line for others to wait in.
    logins = Logins()

    async def right() -> None:
        assert (await logins.gate.verify("ann", "right", "10.0.0.1")).client_id == "ann"

    async def wrong() -> None:
        assert await logins.refused("ann", "wrong") is Unauthenticated

    async with trio.open_nursery() as nursery:
        for _ in range(200):
            nursery.start_soon(right)
            nursery.start_soon(wrong)
    assert logins.hashed == 2


async def test_many_wrong_secrets_of_one_client_fill_no_line(autojump_clock: MockClock) -> None:
    logins = Logins()
    async with trio.open_nursery() as nursery:
        for number in range(200):
            nursery.start_soon(logins.refused, "ann", f"wrong {number}")
    assert logins.hashed <= limits.LOGIN_TRIES_BURST


async def test_the_same_wrong_secret_is_hashed_once(mock_clock: MockClock) -> None:
    logins = Logins()
    for _ in range(200):
        assert await logins.refused("ann", "wrong") is Unauthenticated
    assert logins.hashed == 1
