"""Holds live events to what each listener said that it watches, and to their bounds."""

import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import trio
import trio.lowlevel
import trio.testing
from trio_websocket import ConnectionClosed, WebSocketConnection

from control.api.auth.authentication import Caller
from control.api.live.subscriber import Listener
from control.model import limits
from control.model.api.live import Frame
from control.model.bus.messages import Finished, Loads, WorkerDown, WorkerQuiet
from control.model.bus.records import Record
from control.model.names import Topic
from control.model.states import Outcome, Role
from tests.api.live.test_projection import (
    FINISHED,
    PLACED,
    STARTED,
    WORKER,
    drain,
    frame,
    listening,
    tell,
)
from tests.api.serving import NOW_MS, PIPELINE, RULES, Serving
from tui.core.store import Store


async def watch(socket: WebSocketConnection, **wanted: object) -> None:
    await socket.send_message(msgspec.json.encode(wanted).decode())


async def until(
    socket: WebSocketConnection, found: Callable[[dict[str, Any]], object]
) -> list[dict[str, Any]]:
    """The frames up to the first in which something is found."""
    seen = []
    with trio.fail_after(10):
        while True:
            seen.append(await frame(socket))
            if found(seen[-1]):
                return seen


async def submit(server: Serving, count: int = 1) -> list[int]:
    async with server.as_client("submitter") as client:
        await client.put("/v1/pipelines/nightly", json=PIPELINE)
        asked = [{"pipeline": "nightly"}] * count
        answer = await client.post("/v1/runs:batch", json={"runs": asked})
        return [run["id"] for run in answer.json()["runs"]]


async def cancel(server: Serving, run: int) -> None:
    async with server.as_client("submitter") as client:
        assert (await client.post(f"/v1/runs/{run}/cancel")).status_code < 300


def runs_of(*frames: dict[str, Any]) -> set[int]:
    return {run["id"] for each in frames for run in each["runs"]}


def jobs_of(*frames: dict[str, Any]) -> set[int]:
    return {job["run_id"] for each in frames for job in each["jobs"]}


async def test_a_snapshot_says_who_listens_to_what(server: Serving) -> None:
    async with listening(server, "operator") as socket:
        first = msgspec.convert(await frame(socket), Frame)
    assert (first.seq, first.kind, first.gap, first.version) == (0, "snapshot", False, "0.1.0")
    assert (first.client_id, first.role) == ("operator", Role.OPERATOR)
    assert isinstance(first.counts, msgspec.Struct)
    assert first.counts.queue_size == 1_000
    assert len(first.pulses) == 1
    assert (first.notes, first.runs_more, first.workers_gone) == ([], 0, [])


async def test_who_watches_some_runs_is_told_of_them_and_of_new_ones(server: Serving) -> None:
    old, other = await submit(server, 2)
    async with listening(server) as socket, listening(server) as everything:
        assert runs_of(await frame(socket)) == {old, other}
        await frame(everything)
        await watch(socket, runs=[old], jobs_of=old, workers=False)
        # Newly watched: it is told of the run as it is.
        assert runs_of((await until(socket, lambda each: each["runs"]))[-1]) == {old}
        await tell(server, WORKER)
        await cancel(server, other)
        [new] = await submit(server)
        await cancel(server, old)

        def old_has_ended(each: dict[str, Any]) -> bool:
            return any(run["id"] == old and run["state"] == "CANCELLED" for run in each["runs"])

        seen = await until(socket, old_has_ended)
        if new not in runs_of(*seen):
            seen += await until(socket, lambda each: new in runs_of(each))
        if old not in jobs_of(*seen):
            seen += await until(socket, lambda each: old in jobs_of(each))
        assert (runs_of(*seen), jobs_of(*seen)) == ({old, new}, {old})
        assert not any(each.get("workers") for each in seen)
        assert all(each.get("workers_gone") == [] for each in seen)
        all_of_it = await until(everything, old_has_ended)
        if len(runs_of(*all_of_it)) < 3:
            all_of_it += await until(everything, lambda each: new in runs_of(each))
        assert runs_of(*all_of_it) == {old, other, new}
        # Now it wants to see all that is left.
        await watch(socket)
        await until(socket, lambda each: each.get("workers"))


async def test_no_jobs_are_told_to_who_wants_none(server: Serving) -> None:
    [run] = await submit(server)
    async with listening(server) as socket:
        await frame(socket)
        await watch(socket, runs=[run], jobs_of=0)
        await until(socket, lambda each: each["runs"])
        await cancel(server, run)
        seen = await until(socket, lambda each: each["runs"])
        assert jobs_of(*seen) == set()


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("{", "nothing to watch"),
        ('{"run":[1]}', "unknown field"),
        ('{"runs":["1"]}', "Expected `int`"),
        ('{"jobs_of":-1}', ">= 0"),
        (msgspec.json.encode({"runs": list(range(501))}).decode(), "length <= 500"),
        ('{"runs":[' + " " * limits.WATCH_BYTES_MAX + "]}", "characters at most"),
        (b'{"runs":[1]}', "in a text frame"),
        ("é" * 200, "nothing to watch"),
        ('{"runs":[1,' + "9" * 200 + "]}", "Expected `int` <="),
    ],
)
async def test_who_says_something_else_is_told_why_and_closed(
    server: Serving, said: str | bytes, words: str
) -> None:
    async with listening(server) as socket:
        await frame(socket)
        await socket.send_message(said)
        with trio.fail_after(10), pytest.raises(ConnectionClosed) as closed:
            await drain(socket)
    assert closed.value.reason is not None
    assert closed.value.reason.code == 1008
    assert words in (closed.value.reason.reason or "")
    with trio.fail_after(10):
        while server.api.events.listeners:
            await trio.lowlevel.checkpoint()


async def test_only_workers_that_changed_are_told_and_who_is_gone(server: Serving) -> None:
    second = msgspec.structs.replace(WORKER, worker="w2")
    await tell(server, WORKER, second)
    async with listening(server) as socket:
        first = await frame(socket)
        if len(first["workers"]) < 2:
            await until(socket, lambda each: any(w["id"] == "w2" for w in each.get("workers", ())))
        await tell(server, PLACED)
        seen = await until(socket, lambda each: "job_id" in str(each.get("workers")))
        await tell(server, STARTED)
        seen += await until(socket, lambda each: "'started_at': '2" in str(each.get("workers")))
        assert {w["id"] for each in seen for w in each.get("workers", ())} == {"w1"}
        quiet = WorkerQuiet(worker="w2", dispatcher="d1", since_ms=NOW_MS - 3_000)
        late = WorkerQuiet(worker="w1", dispatcher="d9", since_ms=NOW_MS)
        await tell(server, late, quiet)
        [*_, silent] = await until(socket, lambda each: each.get("workers"))
        assert [(w["id"], w["silent_since"] is None) for w in silent["workers"]] == [("w2", False)]
        await tell(server, msgspec.structs.replace(quiet, since_ms=None))
        [*_, spoken] = await until(socket, lambda each: each.get("workers"))
        assert [(w["id"], w["silent_since"]) for w in spoken["workers"]] == [("w2", None)]
        await tell(server, WorkerDown(worker="w2", dispatcher="d1", reason="it fell silent"))
        [*_, lost] = await until(socket, lambda each: each.get("workers"))
        assert [(w["id"], w["state"]) for w in lost["workers"]] == [("w2", "lost")]
        for number in range(limits.GONE_WORKERS_MAX):
            up = msgspec.structs.replace(WORKER, worker=f"x{number}")
            await tell(server, up, WorkerDown(worker=up.worker, dispatcher="d1", reason="no"))
        seen = await until(socket, lambda each: each["workers_gone"])
        assert seen[-1]["workers_gone"] == ["w2"]


async def test_a_partition_is_told_when_it_changed(server: Serving) -> None:
    async with listening(server) as socket:
        assert len((await frame(socket))["partitions"]) == 1
        await tell(server, WORKER)
        await until(socket, lambda each: each.get("workers"))
        await tell(server, msgspec.structs.replace(WORKER, host="there"))
        seen = await until(socket, lambda each: "there" in str(each.get("workers")))
        assert "partitions" not in seen[-1]
        await tell(server, PLACED, STARTED, FINISHED)
        [*_, last] = await until(socket, lambda each: '"ended_per_minute": 1.0' in dumped(each))
        assert last["partitions"][0]["placed_per_minute"] == 1.0


def dumped(value: dict[str, Any]) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=1).decode()


async def test_a_partition_is_shown_with_its_jobs(server: Serving) -> None:
    later = msgspec.structs.replace
    jobs = [later(PLACED, job=later(PLACED.job, job_id=n)) for n in (1, 2, 3, 4)]
    starts = [later(STARTED, job_id=n, started_ms=NOW_MS - n) for n in (2, 3)]
    elsewhere = later(PLACED, job=later(PLACED.job, job_id=5), partition=1)
    await tell(server, WORKER, *jobs, elsewhere)
    async with server.as_client("viewer") as client:
        with trio.fail_after(10):
            shown: dict[str, Any] = {"jobs": []}
            while len(shown["jobs"]) < len(jobs):
                shown = (await client.get("/v1/partitions/0")).json()
            await tell(server, *starts)
            while [job["job_id"] for job in shown["jobs"]] != [3, 2, 1, 4]:
                shown = (await client.get("/v1/partitions/0")).json()
        assert (shown["partition"], shown["placed_per_minute"]) == (0, 4.0)
        assert shown["head"] == shown["jobs"][0]
        refused = await client.get("/v1/partitions/7")
        assert refused.status_code == 404
        assert refused.json()["detail"] == "there is no partition 7: there are 1, numbered from 0"
        assert (await client.get("/v1/partitions/x")).status_code == 422


async def test_notes_tell_what_went_wrong(server: Serving) -> None:
    failed = msgspec.structs.replace(
        FINISHED, outcome=Outcome.FAILED, final=False, error="exit code 137\nand more"
    )
    lost = msgspec.structs.replace(FINISHED, attempt=2, outcome=Outcome.LOST, final=False)
    tried = msgspec.structs.replace(PLACED.job, retries_left=2)
    up = msgspec.structs.replace(WORKER, connected_ms=NOW_MS + 1)
    async with listening(server) as socket:
        await frame(socket)
        await tell(server, up, msgspec.structs.replace(PLACED, job=tried))
        seen = await until(socket, lambda each: "job_id" in str(each.get("workers")))
        await tell(server, failed)
        seen += await until(socket, lambda each: "try 1 of 3" in str(each["notes"]))
        again = msgspec.structs.replace(tried, attempt=2)
        await tell(server, msgspec.structs.replace(PLACED, job=again), lost)
        seen += await until(socket, lambda each: "its worker was lost" in str(each["notes"]))
        await tell(server, WorkerDown(worker="w1", dispatcher="d1", reason="it fell silent"))
        seen += await until(socket, lambda each: "it fell silent" in str(each["notes"]))
        change = msgspec.structs.replace((RULES.changes or ())[0], at_ms=NOW_MS)
        rules = msgspec.structs.replace(RULES, changes=(change,))
        await tell(server, *[Loads(loads=(), rules=rules)] * 2)
        seen += await until(socket, lambda each: "class_changed" in str(each["notes"]))
        notes = [note for each in seen for note in each["notes"]]
        assert [note["kind"] for note in notes] == [
            "worker_joined",
            "job_failed",
            "job_lost",
            "worker_left",
            "class_changed",
        ]
        assert notes[1]["text"] == "exit code 137, try 1 of 3"
        assert (notes[1]["run_id"], notes[1]["worker"]) == (1, "w1")
        async with listening(server) as late:
            first = await frame(late)
        assert first["notes"] == notes
        pulse = first["pulses"][-1]
        assert (pulse["errors"], pulse["retries"], pulse["lost"], pulse["ended"]) == (1, 1, 1, 0)


async def test_many_at_once_are_read_in_portions(server: Serving) -> None:
    async with listening(server) as socket, listening(server) as watching:
        await frame(socket)
        await frame(watching)
        await watch(watching, runs=[], jobs_of=0)
        count = limits.CHANGED_RUNS_MAX + limits.NEW_RUNS_MAX
        runs = await submit(server, count)
        await trio.testing.wait_all_tasks_blocked(0.2)
        everything = await until(socket, lambda each: runs[0] in runs_of(each))
        assert max(len(each["runs"]) for each in everything) <= limits.CHANGED_RUNS_MAX
        assert max(len(each["jobs"]) for each in everything) <= limits.CHANGED_JOBS_MAX
        assert any(each["runs_more"] for each in everything)
        assert runs_of(*everything) == set(runs)
        some = await until(watching, lambda each: runs[0] in runs_of(each))
        assert max(len(each["runs"]) for each in some) <= limits.NEW_RUNS_MAX
        first = next(each for each in some if each["runs"])
        assert runs_of(first) == set(runs[-limits.NEW_RUNS_MAX :])
        assert first["runs_more"] == count - limits.NEW_RUNS_MAX


async def test_equal_frames_are_made_once(server: Serving) -> None:
    events = server.api.events
    who = Caller(client_id="viewer", role=Role.VIEWER)
    listeners = [events.join(who) for _ in range(3)]
    for listener in listeners:
        await events.next_frame(listener)
    listeners[2].heed('{"workers":false}')
    await tell(server, msgspec.structs.replace(WORKER, connected_ms=NOW_MS + 1))
    one, same = [(await _until_told(each, b'"workers":[{'))[-1] for each in listeners[:2]]
    assert one is same
    others = await _until_told(listeners[2], b'"worker_joined"')
    assert not any(b'"workers":[{' in each for each in others)


async def _until_told(listener: Listener, what: bytes) -> list[bytes]:
    told = [b""]
    with trio.fail_after(10):
        while what not in told[-1]:
            told.append(await listener.ready() or b"")
    return told


async def test_who_reads_too_slowly_gets_a_snapshot(server: Serving) -> None:
    events = server.api.events
    listener = events.join(Caller(client_id="viewer", role=Role.VIEWER))
    assert b'"gap":false' in await events.next_frame(listener)
    for number in range(9):
        listener.offer(b'{"seq":0,"n":%d}' % number)
    late = msgspec.json.decode(await events.next_frame(listener))
    assert (late["seq"], late["kind"], late["gap"]) == (1, "snapshot", True)
    listener.offer(b'{"seq":0,"last":true}')
    following = [await events.next_frame(listener) for _ in range(2)]
    assert any(each.endswith(b',"last":true}') for each in following)
    assert [msgspec.json.decode(each)["seq"] for each in following] == [2, 3]


async def test_after_a_gap_who_watches_is_told_of_runs_that_have_ended(server: Serving) -> None:
    [run] = await submit(server)
    async with listening(server) as socket:
        await frame(socket)
        await watch(socket, runs=[run])
        await until(socket, lambda each: each["runs"])
        await cancel(server, run)
        await until(socket, lambda each: "CANCELLED" in str(each["runs"]))
        server.api.live.gaps += 1  # Messages were missed.
        await tell(server, WORKER)
        [*_, snapshot] = await until(socket, lambda each: each["kind"] == "snapshot")
        assert (snapshot["gap"], snapshot["runs"]) == (True, [])
        [*_, told] = await until(socket, lambda each: each["runs"])
        assert [each["state"] for each in told["runs"]] == ["CANCELLED"]


async def test_only_the_pulse_goes_on_while_nobody_listens(server: Serving) -> None:
    live = server.api.live
    async with listening(server) as socket:
        await frame(socket)
        await tell(server, WORKER)
        await until(socket, lambda each: each.get("workers"))
    with trio.fail_after(10):
        while server.api.events.listeners:
            await trio.lowlevel.checkpoint()
    finished: Finished = FINISHED
    await server.parts.bus.publish([Record(Topic.TASK_RUN_RESULTS, finished)])
    with trio.fail_after(10):
        while not live.pulses.all(0)[-1].ended:
            await trio.testing.wait_all_tasks_blocked()
    assert not live.marks.waiting
    assert live.crew.take_workers() == ([], [])


async def test_what_comes_while_a_snapshot_is_made_is_not_noted_twice() -> None:
    listener = Listener(Caller(client_id="ann", role=Role.VIEWER))
    assert await listener.ready() is None
    share = listener.share([], frozenset(), [], runs_more=0, fleet=True, notes=2)
    assert (share.notes_after, share.notes_until) == (2, 2)
    listener.began([], newest_run=0, notes=2)
    share = listener.share([], frozenset(), [], runs_more=0, fleet=True, notes=3)
    assert (share.notes_after, share.notes_until) == (2, 3)


@pytest.mark.parametrize("seed", range(5))
async def test_consoles_count_what_the_server_counts(server: Serving, seed: int) -> None:
    # They connect, go, and come back while jobs fail and end.
    chance, live = random.Random(seed), server.api.live
    kept = Store()

    async def look(until_notes: int) -> None:
        async with listening(server) as socket:
            with trio.fail_after(10):
                while kept.life is None or len(kept.notes) < until_notes or behind(kept):
                    kept.take(msgspec.convert(await frame(socket), Frame), NOW_MS)

    def behind(store: Store) -> bool:
        return store.pulses[-1:] != live.pulses.all(live.crew.running())[-1:]

    job = 0
    for _ in range(4):
        for _ in range(chance.randrange(1, 6)):
            job += 1
            outcome = chance.choice([Outcome.DONE, Outcome.FAILED])
            await tell(server, msgspec.structs.replace(FINISHED, job_id=job, outcome=outcome))
        with trio.fail_after(10):
            while sum(pulse.ended for pulse in live.pulses.all(0)) < job:
                await trio.testing.wait_all_tasks_blocked()
        await look(len(live.notes.all()))
        assert kept.notes == live.notes.all()
        assert sum(pulse.ended for pulse in kept.pulses) == job
