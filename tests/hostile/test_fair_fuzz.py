"""Decides that no request and no frame, however made, is a defect: seeded fuzzers of both doors."""

import random
from collections.abc import Callable

import pytest
import trio

from tests.hostile import frames, requests
from tests.hostile.conftest import Budget
from tests.hostile.plane import PIPELINE, Plane

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
Address = tuple[str, int]
_AT_ONCE = 20
_ANSWER_S = 0.3  # What has not answered by then waits for more.
_UPGRADE = (
    "GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: {who}\r\nconnection: Upgrade\r\n"
    "upgrade: websocket\r\nsec-websocket-version: 13\r\n{more}"
    "sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


async def exchange(address: Address, first: bytes, then: bytes = b"") -> bytes:
    """Send it, and give what is answered at once."""
    answer = b""
    try:
        stream = await trio.open_tcp_stream(*address)
        async with stream:
            with trio.move_on_after(5):
                await stream.send_all(first)
                if then:
                    answer = await stream.receive_some(4096)
                    await stream.send_all(then)
            with trio.move_on_after(_ANSWER_S):
                while piece := await stream.receive_some(65_536):
                    answer += piece
    except* (OSError, trio.BrokenResourceError):
        pass
    return bytes(answer)


def attack(plane: Plane, budget: Budget, usual: int, case: Callable[[int], list[bytes]]) -> None:
    """Try all cases, several at once; each is an address's messages and nothing more."""
    seeds = budget.cases(usual)

    async def work(api: bool) -> None:
        for seed in seeds:
            address = plane.api if api else plane.gateway
            answer = await exchange(address, *case(seed))
            status = answer[9:12] if answer.startswith(b"HTTP/1.1 5") else b""
            assert status in {b"", b"503"}, (seed, answer[:1_000])

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for number in range(_AT_ONCE):
                nursery.start_soon(work, number % 4 != 0)

    trio.run(main)
    check(plane)


def check(plane: Plane) -> None:
    """A valid request right after is answered, and the log has no defect."""
    assert plane.process.poll() is None
    with plane.client("victim") as client:
        assert client.put("/v1/pipelines/small", json=PIPELINE).is_success
        assert client.post("/v1/pipelines/small/runs").status_code == 201
        assert client.get("/v1/health").json()["status"] == "ok"
    assert plane.complaints() == []


def test_any_request_is_answered_in_words_or_not_at_all(plane: Plane, budget: Budget) -> None:
    known = [plane.basic(who) for who in ("admin", "viewer", "submitter", "worker")]
    authorizations = [*known, *known, "", "Basic x", "Basic OjpB", "Bearer y"]

    def case(seed: int) -> list[bytes]:
        return [requests.request(random.Random(seed), authorizations)]

    attack(plane, budget, 600, case)


@pytest.mark.parametrize("extension", ["", "sec-websocket-extensions: permessage-deflate\r\n"])
def test_any_frame_is_taken_or_closes_its_socket_only(
    plane: Plane, budget: Budget, extension: str
) -> None:
    more = f"sec-websocket-protocol: taskplane.worker.v1\r\n{extension}"

    def case(seed: int) -> list[bytes]:
        chance = random.Random(seed)
        who = plane.basic(chance.choice(["admin", "worker", "viewer"]))
        path = chance.choice(["/v1/events", "/v1/events", "/"])
        first = _UPGRADE.format(path=path, who=who, more=more).encode()
        if chance.random() < 0.1:
            return [first + frames.frames(chance)]
        return [first, frames.frames(chance)]

    attack(plane, budget, 300, case)
