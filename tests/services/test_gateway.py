"""Decides what the gateway lets in: whatever comes over the socket, nobody else suffers from it."""

import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked
from trio_websocket import (
    ConnectionClosed,
)

from control.model import limits
from control.model.states import Outcome
from control.model.worker import wire
from control.worker_channel import Connected, Disconnected, Quiet, WorkerFrames
from tests.services.gateways import BEAT, HELLO, LEASE, World, basic, opened, rejected, result


@pytest.mark.parametrize(
    ("client", "secret", "status"),
    [("w", "wrong", 401), ("nobody", "s:e", 401), ("v", "s:e", 403), ("", "", 401)],
)
async def test_only_workers_and_admins_are_let_in(client: str, secret: str, status: int) -> None:
    async with opened() as world:
        answer = await rejected(world.port, basic(client, secret), wire.SUBPROTOCOL)
        assert answer.status_code == status
        await world.works()


async def test_who_cannot_be_checked_yet_is_told_to_try_again() -> None:
    async with opened() as world:
        answer = await rejected(world.port, basic("early", "s:e"), wire.SUBPROTOCOL)
        assert (answer.status_code, answer.body) == (
            503,
            b"the clients are not known yet; try again\n",
        )
        await world.works()


async def test_an_admin_may_work() -> None:
    async with opened() as world, world.socket("root") as socket:
        await socket.send_message(wire.ENCODER.encode([HELLO]))
        assert isinstance(await world.next(), Connected)


@pytest.mark.parametrize("header", [b"Basic !!!!", b"Basic /w==", b"Bearer x", b"Basic"])
async def test_a_header_that_is_not_basic_is_401(header: bytes) -> None:
    async with opened() as world:
        answer = await rejected(world.port, header, wire.SUBPROTOCOL)
        assert answer.status_code == 401


async def test_another_subprotocol_is_refused() -> None:
    async with opened() as world:
        answer = await rejected(world.port, basic("w", "s:e"), "chat")
        assert answer.status_code == 400
        assert wire.SUBPROTOCOL.encode() in (answer.body or b"")


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(b"[" + BEAT + b"]", id="a beat"),
        pytest.param(b"[]", id="no frame"),
        pytest.param(b"{", id="no JSON"),
        pytest.param(b"\xff\xfe", id="no text"),
        pytest.param(b"[" * 100_000, id="nested"),
        pytest.param(msgspec.json.encode([HELLO]).replace(b'"t"', b'"x":1,"t"'), id="a field"),
        pytest.param(wire.ENCODER.encode([HELLO]).replace(b'"version":1', b'"version":9'), id="9"),
        pytest.param(wire.ENCODER.encode([HELLO]).replace(b'"slots":2', b'"slots":0'), id="slots"),
        pytest.param(wire.ENCODER.encode([HELLO]).replace(b"w-1", b"../w"), id="name"),
        pytest.param(b'[{"t":"hello","version":1}]', id="half a hello"),
        pytest.param(b'[{"t":"assign"}]', id="a frame of the other side"),
    ],
)
async def test_who_does_not_begin_with_hello_is_told_and_dropped(first: bytes) -> None:
    async with opened() as world:
        async with world.socket() as socket:
            await socket.send_message(first)
            (frame,) = wire.TO_WORKER.decode(await socket.get_message())
            assert isinstance(frame, wire.Refused)
            assert frame.reason
            with pytest.raises(ConnectionClosed):
                await socket.get_message()
        await world.works()


def log(size: int) -> bytes:
    return b'[{"t":"log","lease":[1,1,1],"offset":0,"text":"%b"}]' % (b"x" * size)


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(b"no json", id="no JSON"),
        pytest.param(b'[{"t":"beat","now_ms":1,"more":1}]', id="an unknown field"),
        pytest.param(b'[{"t":"beat","now_ms":"1"}]', id="a wrong type"),
        pytest.param(b'[{"t":"beat","now_ms":%d}]' % 10**30, id="an instant no database has"),
        pytest.param(b'[{"t":"started","lease":[1,1,1],"started_ms":-1}]', id="before all time"),
        pytest.param(b"[" + result(b"1", log_bytes=10**30) + b"]", id="a size no database has"),
        pytest.param(b"[" + result(b"1", exit_code=10**30) + b"]", id="an exit code too"),
        pytest.param(b'[{"t":"progress","lease":[1,1,1],"progress":2}]', id="too much progress"),
        pytest.param(b'[{"t":"beat"', id="half a frame"),
        pytest.param(b'{"t":"beat","now_ms":1}', id="no array"),
        pytest.param(b"[]", id="no frame"),
        pytest.param(b"[" + result(b"[" * 100_000 + b"]" * 100_000) + b"]", id="bottomless"),
        pytest.param(b"[" + result(b'"\xff"') + b"]", id="no text inside"),
        pytest.param(b"[" + b",".join([BEAT] * 2_001) + b"]", id="2,001 frames"),
        pytest.param(log(limits.LOG_CHUNK_BYTES_MAX + 1), id="too much log"),
        pytest.param(b"x" * (limits.FRAME_BYTES_MAX + 1), id="a huge message"),
    ],
)
async def test_what_breaks_the_protocol_ends_only_that_connection(message: bytes) -> None:
    async with opened() as world:
        async with world.socket() as socket:
            await socket.send_message(wire.ENCODER.encode([HELLO]))
            connected = await world.next()
            with pytest.raises(ConnectionClosed):  # noqa: PT012 - Either end may notice first.
                await socket.send_message(message)
                await socket.get_message()
            gone = await world.next()
        assert isinstance(gone, Disconnected)
        assert gone.peer is connected.peer
        await world.works()


@pytest.mark.parametrize(
    ("output", "problem"),
    [
        pytest.param(b"[" * 300 + b"]" * 300, "nested", id="deep"),
        pytest.param(b'"' + b"x" * limits.OUTPUT_BYTES_MAX + b'"', "bytes", id="large"),
    ],
)
async def test_an_output_that_cannot_be_carried_fails_its_job(output: bytes, problem: str) -> None:
    async with opened() as world, world.socket() as socket:
        await socket.send_message(wire.ENCODER.encode([HELLO]))
        await socket.send_message(b"[" + result(output) + b"]")
        await world.next()
        said = await world.next()
        assert isinstance(said, WorkerFrames)
        (ended,) = said.frames
        assert isinstance(ended, wire.Ended)
        assert (ended.outcome, bytes(ended.output)) == (Outcome.FAILED, b"null")
        assert problem in (ended.error or "")


@pytest.mark.parametrize("output", [b'"' + b"[" * 900 + b'"', b"[" + b"{}," * 900 + b"[]]"])
async def test_brackets_alone_are_not_depth(output: bytes) -> None:
    async with opened() as world, world.socket() as socket:
        await socket.send_message(wire.ENCODER.encode([HELLO]))
        await socket.send_message(b"[" + result(output) + b"]")
        await world.next()
        said = await world.next()
        assert isinstance(said, WorkerFrames)
        (ended,) = said.frames
        assert isinstance(ended, wire.Ended)
        assert bytes(ended.output) == output


async def test_thousands_of_frames_arrive_in_order() -> None:
    portion, messages = limits.FRAME_MESSAGES_MAX, 5
    found: list[int] = []
    async with opened() as world, world.socket() as socket, trio.open_nursery() as nursery:
        await socket.send_message(wire.ENCODER.encode([HELLO]))
        await world.next()

        async def say() -> None:
            for first in range(0, portion * messages, portion):
                frames = [wire.Beat(now_ms=n) for n in range(first, first + portion)]
                await socket.send_message(wire.ENCODER.encode(frames))

        nursery.start_soon(say)
        while len(found) < portion * messages:
            said = await world.next()
            assert isinstance(said, WorkerFrames)
            found += [frame.now_ms for frame in said.frames if isinstance(frame, wire.Beat)]
        assert found == list(range(portion * messages))


async def test_what_follows_hello_in_the_same_message_counts() -> None:
    async with opened() as world, world.socket() as socket:
        await socket.send_message(wire.ENCODER.encode([HELLO, wire.Leaving()]))
        connected, said = await world.next(), await world.next()
        assert isinstance(connected, Connected)
        assert isinstance(said, WorkerFrames)
        assert said.frames == [wire.Leaving()]


async def test_answers_go_out_in_order_and_closing_ends_the_connection() -> None:
    async with opened() as world, world.socket() as socket:
        await socket.send_message(wire.ENCODER.encode([HELLO]))
        peer = (await world.next()).peer
        count = limits.FRAME_MESSAGES_MAX + 1
        peer.send([wire.Ack(leases=(wire.Lease(n, 1, 1),)) for n in range(count)])
        peer.close()
        got: list[int] = []
        with pytest.raises(ConnectionClosed):  # noqa: PT012 - It closes after the last of them.
            while True:
                for frame in wire.TO_WORKER.decode(await socket.get_message()):
                    assert isinstance(frame, wire.Ack)
                    got += [lease.job_id for lease in frame.leases]
        assert got == list(range(count))
        assert isinstance(await world.next(), Disconnected)


async def test_more_work_than_a_message_may_hold_goes_out_in_several() -> None:
    """Or its worker hangs up, gets the same jobs again, and hangs up again."""
    size, count = 1 * limits.MIB, 2 * limits.FRAME_BYTES_MAX // limits.MIB
    data = msgspec.Raw(msgspec.json.encode("x" * size))
    async with opened() as world, world.socket() as socket:
        await socket.send_message(wire.ENCODER.encode([HELLO]))
        peer = (await world.next()).peer
        peer.send(
            [
                wire.Assign(
                    lease=wire.Lease(n, 1, 1),
                    run_id=1,
                    name="j",
                    kind="Sleep",
                    version="1.0.0",
                    timeout=None,
                    work=msgspec.Raw(b"{}"),
                    input=data,
                )
                for n in range(count)
            ]
        )
        got: list[int] = []
        while len(got) < count:
            for frame in wire.TO_WORKER.decode(await socket.get_message()):
                assert isinstance(frame, wire.Assign)
                got.append(frame.lease.job_id)
        assert got == list(range(count))


async def test_a_result_in_parts_is_checked_like_any_other() -> None:
    hello = msgspec.structs.replace(HELLO, parts=True)

    def parts(frame: bytes) -> bytes:
        half = len(frame) // 2
        return wire.ENCODER.encode(
            [
                wire.Part(lease=LEASE, offset=at, size=len(frame), text=text.decode())
                for at, text in ((0, frame[:half]), (half, frame[half:]))
            ]
        )

    async with opened() as world:
        async with world.socket() as socket:
            await socket.send_message(wire.ENCODER.encode([hello]))
            (await world.next()).peer.send([wire.Welcome(version=1, dispatcher="d")])
            (welcome,) = wire.TO_WORKER.decode(await socket.get_message())
            assert isinstance(welcome, wire.Welcome)
            assert welcome.received == ()
            depth = limits.VALUE_DEPTH_MAX + 1
            deep = b"[" * depth + b"]" * depth
            await socket.send_message(parts(result(deep)))
            said = await world.next()
            assert isinstance(said, WorkerFrames)
            (ended,) = said.frames
            assert isinstance(ended, wire.Ended)
            assert ended.outcome is Outcome.FAILED
            await socket.send_message(parts(result(b"1")[:-2]))
            gone = await world.next()
            assert isinstance(gone, Disconnected)
            assert "malformed" in gone.reason
        await world.works()


async def test_one_name_twice_is_two_peers() -> None:
    async with opened() as world, world.socket() as one, world.socket() as other:
        await one.send_message(wire.ENCODER.encode([HELLO]))
        first = await world.next()
        await other.send_message(wire.ENCODER.encode([HELLO]))
        second = await world.next()
        assert first.peer is not second.peer
        first.peer.close()
        gone = await world.next()
        assert isinstance(gone, Disconnected)
        assert gone.peer is first.peer


async def test_silence_is_noticed(autojump_clock: MockClock) -> None:
    """Time jumps only while every socket is silent, which is what is tested."""
    async with opened() as world, world.socket() as socket:
        await socket.send_message(wire.ENCODER.encode([HELLO]))
        await world.next()
        before = trio.current_time()
        assert isinstance(await world.next(), Quiet)
        assert trio.current_time() - before <= limits.QUIET_S
        gone = await world.next()
        assert isinstance(gone, Disconnected)
        assert gone.reason == "nothing was heard of it for 10 s"
        assert trio.current_time() - before <= limits.SILENCE_S


async def test_who_speaks_late_is_heard(autojump_clock: MockClock) -> None:
    async with opened() as world, world.socket() as socket:
        await socket.send_message(wire.ENCODER.encode([HELLO]))
        peer = (await world.next()).peer
        for _ in range(2):
            assert await world.next() == Quiet(peer)
            await socket.send_message(b"[" + BEAT + b"]")
            assert isinstance(await world.next(), WorkerFrames)


async def rude(world: World, *parts: bytes) -> None:
    stream = await trio.open_tcp_stream("127.0.0.1", world.port)
    for part in parts:
        await stream.send_all(part)
    await stream.aclose()


REQUEST = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)


@pytest.mark.parametrize(
    "parts",
    [
        (),
        (b"GET / HTTP/1.1\r\n\r\n",),
        (b"\x16\x03\x01\x02\x00\x01\x00" + bytes(range(256)),),
        (b"GET /",),
        (REQUEST + b"\r\n",),
        (REQUEST + b"Sec-WebSocket-Protocol: " + wire.SUBPROTOCOL.encode() + b"\r\n\r\n",),
        (REQUEST + b"\r\n", b"\xff" * 100),
        (b"x" * 100_000,),
    ],
)
async def test_who_is_no_worker_at_all_harms_nobody(parts: tuple[bytes, ...]) -> None:
    async with opened() as world:
        await rude(world, *parts)
        await world.works()


@pytest.mark.parametrize("client", ["w", "v", "nobody"])
async def test_who_leaves_while_being_verified_harms_nobody(client: str) -> None:
    request = REQUEST + b"Authorization: " + basic(client, "s:e") + b"\r\nSec-WebSocket-Protocol: "
    async with opened() as world:
        world.verified = trio.Event()
        stream = await trio.open_tcp_stream("127.0.0.1", world.port)
        await stream.send_all(request + wire.SUBPROTOCOL.encode() + b"\r\n\r\n")
        await wait_all_tasks_blocked(0.01)
        stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        await stream.aclose()  # With a reset.
        await wait_all_tasks_blocked(0.01)
        world.verified.set()
        await world.works()


async def test_the_end_does_not_wait_for_a_dispatcher_that_is_gone(
    autojump_clock: MockClock,
) -> None:
    world = World()
    async with trio.open_nursery() as nursery:
        world.port = await nursery.start(world.gateway.run)
        async with world.socket() as socket:
            await socket.send_message(wire.ENCODER.encode([HELLO]))
            await world.next()
            for _ in range(limits.ARRIVALS_MAX + 1):
                await socket.send_message(b"[" + BEAT + b"]")
            await wait_all_tasks_blocked(0.01)
            before = trio.current_time()
            nursery.cancel_scope.cancel()
    assert trio.current_time() - before <= 3 * limits.ACK_S


async def test_a_worker_that_leaves_while_nobody_listens_is_reported_once_somebody_does(
    autojump_clock: MockClock,
) -> None:
    """A dispatcher that waits for a full disk would keep the leases of the dead for ever."""
    async with opened() as world:
        async with world.socket() as socket:
            await socket.send_message(wire.ENCODER.encode([HELLO]))
            await world.next()
            for _ in range(limits.ARRIVALS_MAX):
                await socket.send_message(b"[" + BEAT + b"]")
            await wait_all_tasks_blocked(0.01)
        await trio.sleep(10 * limits.ACK_S)
        said = [await world.next() for _ in range(limits.ARRIVALS_MAX + 1)]
        assert isinstance(said[-1], Disconnected)
