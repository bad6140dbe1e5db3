"""Decides whom a gateway lets in whose process has no state database."""

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from control.api.auth.authentication import Gate, hash_secret
from control.model import limits
from control.model.bus.messages import DrainWorker
from control.model.bus.records import Record
from control.model.errors import Unauthenticated, Unavailable
from control.model.names import Topic
from control.model.states import Role
from control.services.replicated_credentials import WorkerKeys
from control.transactions import client_announcements
from store import clients
from store.clients import Terms
from store.database.writer import Tx
from tests.services.plane import EPOCH_MS, Plane, inline, opened

HASHES = {secret: hash_secret(secret, bytes(16)) for secret in ("one", "two")}


def wanted(role: Role, *, enabled: bool = True) -> Terms:
    return Terms(role=role, priority=10, max_queued=None, max_running=None, enabled=enabled)


async def add(plane: Plane, client: str, role: Role) -> None:
    def work(tx: Tx) -> None:
        secret_hash = HASHES["one"]
        view = clients.create(
            tx.conn, client, wanted(role), secret_hash=secret_hash, now_ms=EPOCH_MS
        )
        client_announcements.tell(tx, view)

    await plane.writer.write(work)


class Door:
    """A gate of another process."""

    def __init__(self, plane: Plane) -> None:
        self.keys = WorkerKeys(plane.bus, self._changed)
        self.gate = Gate(self.keys.login, inline, bytes(32))

    def _changed(self) -> None:
        self.gate.forget()

    async def opens(self, client: str, secret: str = "one") -> Role | None:
        await wait_all_tasks_blocked()
        try:
            return (await self.gate.verify(client, secret)).role
        except Unauthenticated:
            return None


async def test_who_starts_is_told_of_all_who_may_connect_workers(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with opened(tmp_path) as (plane, nursery):
        for role in Role:
            await add(plane, role, role)
        await nursery.start(plane.trigger.run)
        door = Door(plane)
        await nursery.start(door.keys.run)
        let_in = {Role.WORKER: Role.WORKER, Role.ADMIN: Role.ADMIN}
        await trio.sleep(limits.KEYS_SETTLE_S)
        assert {role: await door.opens(role) for role in Role} == {
            role: let_in.get(role) for role in Role
        }
        assert await door.opens(Role.WORKER, "two") is None


async def test_until_they_are_known_nobody_is_refused_for_good(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with opened(tmp_path) as (plane, nursery):
        await add(plane, "w", Role.WORKER)
        door = Door(plane)
        await nursery.start(door.keys.run)
        await trio.sleep(60)
        with pytest.raises(Unavailable, match="not known yet"):
            await door.opens("w")
        await nursery.start(plane.trigger.run)  # It was down when it was asked.
        assert await door.opens("w") == Role.WORKER
        with pytest.raises(Unavailable, match="not known yet"):
            await door.opens("nobody")
        await trio.sleep(limits.KEYS_SETTLE_S)
        assert await door.opens("nobody") is None


async def test_changes_hold_at_once(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with opened(tmp_path) as (plane, nursery):
        await nursery.start(plane.trigger.run)
        door = Door(plane)
        await nursery.start(door.keys.run)
        await add(plane, "w", Role.WORKER)
        await trio.sleep(limits.KEYS_SETTLE_S)
        assert await door.opens("w") == Role.WORKER

        async def change(role: Role, *, enabled: bool = True) -> None:
            def work(tx: Tx) -> None:
                client_announcements.tell(
                    tx, clients.update(tx.conn, "w", wanted(role, enabled=enabled))
                )

            await plane.writer.write(work)

        await change(Role.WORKER, enabled=False)
        assert await door.opens("w") is None
        await change(Role.VIEWER)
        assert await door.opens("w") is None
        await change(Role.WORKER)
        assert await door.opens("w") == Role.WORKER
        await plane.writer.write(
            lambda tx: client_announcements.tell(tx, clients.rotate(tx.conn, "w", HASHES["two"]))
        )
        assert await door.opens("w", "one") is None
        assert await door.opens("w", "two") == Role.WORKER


async def test_after_a_gap_all_are_asked_for_again(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with opened(tmp_path) as (plane, nursery):
        await nursery.start(plane.trigger.run)
        for name in ("v", "w"):
            await add(plane, name, Role.WORKER)
        door = Door(plane)
        await nursery.start(door.keys.run)
        assert await door.opens("w") == Role.WORKER

        def work(tx: Tx) -> None:
            view = clients.get(tx.conn, "w")
            clients.delete(tx.conn, "w")
            client_announcements.tell(tx, view)
            word = Record(Topic.TASK_COMMANDS, DrainWorker(worker="w"))
            tx.publish([word] * limits.SUBSCRIPTION_RECORDS_MAX)

        await plane.writer.write(work)  # More than is kept for one reader, at once.
        assert await door.opens("v") == Role.WORKER
        await trio.sleep(limits.KEYS_SETTLE_S)
        assert await door.opens("w") is None
