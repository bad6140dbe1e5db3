"""Decides what the doors of a real control plane let in: slow ones, many, large frames, pages."""

import os
import resource
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
import trio

from control.model import limits
from tests.hostile.plane import Plane, plane_in
from tests.hostile.test_fair_fuzz import exchange

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
JSON = {"content-type": "application/json"}
FORM = {"content-type": "application/x-www-form-urlencoded"}
UPGRADE = (
    "GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: {who}\r\nconnection: Upgrade\r\n"
    "upgrade: websocket\r\nsec-websocket-version: 13\r\n{more}"
    "sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
HUGE = b"\x82\xff" + (16 * 2**30).to_bytes(8, "big") + bytes(4)
_LENGTH = (60_000).to_bytes(2, "big")
FRAGMENTS = b"\x02\xfe" + _LENGTH + bytes(60_004) + b"\x80\xfe" + _LENGTH + bytes(4)
TOO_LARGE = b"\x88\x02\x03\xf1"


@contextmanager
def connected(address: tuple[str, int], count: int) -> Iterator[None]:
    """So many idle connections."""
    with ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(socket.create_connection(address))
        yield


def test_idle_connections_beyond_the_bound_keep_nobody_out(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 4_096), hard))
    try:
        with (
            plane_in(tmp_path, "--max-connections", "100") as plane,
            connected(plane.api, 300),
            connected(plane.gateway, 300),
        ):
            with plane.client("victim") as client:
                assert client.post("/v1/pipelines/small/runs").status_code == 201
            with plane.client("admin") as client:
                shown = client.get("/metrics").text
            assert 'taskplane_limited_total{bound="api_connections",effect="refused"}' in shown
            assert plane.complaints() == []
            assert plane.log.read_text(encoding="utf-8").count("bound=api_connections") <= 2
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_without_descriptors_it_waits_and_says_so_in_a_line(tmp_path: Path) -> None:
    with plane_in(tmp_path) as plane:
        pid = plane.process.pid
        used = len(os.listdir(f"/proc/{pid}/fd"))
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        assert before[0] == before[1], "the soft limit was not raised"
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + 3, before[1]))
        with connected(plane.api, 50):
            assert plane.process.poll() is None
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
        with plane.client("victim") as client:
            assert client.post("/v1/pipelines/small/runs").status_code == 201
        assert plane.complaints() == []


def test_a_slow_head_and_a_slow_body_are_ended(plane: Plane) -> None:
    body = f"POST /v1/runs HTTP/1.1\r\nhost: x\r\nauthorization: {plane.basic('submitter')}\r\n"
    body += "content-type: application/json\r\ncontent-length: 1000\r\n\r\n{"

    async def ended(first: str) -> bytes:
        stream = await trio.open_tcp_stream(*plane.api)
        async with stream:
            with trio.fail_after(limits.CONNECTION_HEAD_S + limits.BODY_PATIENCE_S):
                await stream.send_all(first.encode())
                return bytes(await stream.receive_some(4096))

    answers: dict[str, bytes] = {}

    async def main() -> None:
        async def keep(first: str) -> None:
            answers[first] = await ended(first)

        async with trio.open_nursery() as nursery:
            for first in ("GET / HTTP/1.1\r\nx: ", "", body):
                nursery.start_soon(keep, first)

    trio.run(main)
    assert answers[""] == b""
    assert all(answer[9:12] == b"408" for first, answer in answers.items() if first)


@pytest.mark.parametrize("frame", [HUGE, FRAGMENTS])
def test_a_frame_that_is_announced_too_large_is_cut(plane: Plane, frame: bytes) -> None:
    api = UPGRADE.format(path="/v1/events", who=plane.basic("viewer"), more="").encode()
    more = "sec-websocket-protocol: taskplane.worker.v1\r\n"
    gateway = UPGRADE.format(path="/", who=plane.basic("worker"), more=more).encode()
    assert TOO_LARGE in trio.run(exchange, plane.api, api, frame)
    if frame == HUGE:
        assert TOO_LARGE in trio.run(exchange, plane.gateway, gateway, frame)

    async def flood() -> int:
        sent = 0
        stream = await trio.open_tcp_stream(*plane.api)
        async with stream:
            await stream.send_all(api)
            await stream.receive_some()
            with trio.fail_after(30):
                try:
                    while sent < 512 * limits.MIB:
                        await stream.send_all(frame + bytes(limits.MIB))
                        sent += limits.MIB
                except trio.BrokenResourceError:
                    return sent
        return sent

    assert trio.run(flood) < 64 * limits.MIB


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /v1/health HTTP/1.1\r\nhost: a\r\nconnection: Upgrade, HTTP2-Settings\r\n"
         b"upgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n\r\n", b"200"),
        (b"POST /v1/runs HTTP/1.1\r\nhost: a\r\nupgrade: h2c\r\n\r\n", b"401"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(40), b"404"),
    ],
)  # fmt: skip
def test_offers_of_http_2_are_ignored(plane: Plane, request_: bytes, status: bytes) -> None:
    answer = trio.run(exchange, plane.api, request_.replace(b"host: a", b"host: 127.0.0.1"))
    assert answer[9:12] == status
    assert plane.process.poll() is None
    assert plane.complaints() == []


def test_pages_of_others_and_forms_are_refused(plane: Plane) -> None:
    with plane.client("victim") as client:
        run = client.post("/v1/pipelines/small/runs").json()["id"]
        cancel = f"/v1/runs/{run}/cancel"
        for headers, status in (
            ({"origin": "http://evil.example"}, 403),
            ({"origin": "null"}, 403),
            ({"host": "evil.example"}, 403),
            ({"origin": plane.url, **FORM}, 415),
            (FORM, 415),
        ):
            refused = client.post(cancel, headers=headers)
            assert (refused.status_code, headers) == (status, headers)
            assert refused.headers["content-type"] == "application/problem+json"
        said = client.get("/v1/runs", headers={"host": "evil.example"})
        assert "allowed_hosts" in said.json()["detail"]
        assert client.get("/v1/health", headers={"host": "evil.example"}).status_code == 200
        for headers in ({"origin": plane.url}, JSON, {"host": "localhost:1"}, {"host": "control"}):
            assert client.post(cancel, headers=headers).status_code in {200, 409}
        started = client.post("/v1/pipelines/small/runs", headers=FORM)
        assert started.status_code == 415
        assert client.post(cancel, content=b"x").status_code == 415
    foreign = "origin: http://evil.example\r\n"
    asked = UPGRADE.format(path="/v1/events", who=plane.basic("viewer"), more=foreign)
    assert trio.run(exchange, plane.api, asked.encode())[9:12] == b"403"


def test_another_name_is_right_once_it_is_listed(tmp_path: Path) -> None:
    with (
        plane_in(tmp_path, "--allowed-hosts", "tasks.example,other.example") as plane,
        plane.client("victim") as client,
    ):
        headers = {"host": "tasks.example", "origin": "https://tasks.example"}
        assert client.post("/v1/pipelines/small/runs", headers=headers).status_code == 201


def test_a_login_that_was_right_before_never_waits_for_wrong_ones(plane: Plane) -> None:
    stop = threading.Event()
    with plane.client("victim") as client:
        assert client.get("/v1/runs").status_code == 200
        with httpx.Client(base_url=plane.url) as stranger:

            def guess(number: int) -> None:
                while not stop.is_set():
                    number += 1
                    answer = stranger.get("/v1/runs", auth=(f"nobody-{number}", "wrong"))
                    assert answer.status_code in {401, 429}

            threads = [threading.Thread(target=guess, args=(n * 10_000,)) for n in range(8)]
            for thread in threads:
                thread.start()
            with plane.client("admin") as admin:  # Which makes everybody be looked at again.
                for _ in range(5):
                    admin.post("/v1/clients", json={"client_id": "x", "role": "viewer"})
                    admin.delete("/v1/clients/x")
                    answer = client.get("/v1/runs")
                    assert answer.status_code == 200
                    assert answer.elapsed.total_seconds() < 1
            fresh = httpx.get(f"{plane.url}/v1/runs", auth=("viewer", plane.secrets["viewer"]))
            assert fresh.status_code == 200
            stop.set()
            for thread in threads:
                thread.join()


def test_secrets_that_change_are_noticed_at_once(plane: Plane) -> None:
    with plane.client("victim") as client, plane.client() as admin:
        assert client.get("/v1/runs").status_code == 200
        admin.post("/v1/clients/victim/rotate").raise_for_status()
        assert client.get("/v1/runs").status_code == 401
        plane.add("other", "submitter")
        with plane.client("other") as other:
            assert other.get("/v1/runs").status_code == 200
            admin.patch("/v1/clients/other", json={"enabled": False}).raise_for_status()
            assert other.get("/v1/runs").status_code == 401


def test_queries_end_when_the_process_does(plane: Plane) -> None:
    heavy = b'{"sql":"SELECT count(*) FROM range(1000000000000)"}'

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(60):
                request = (
                    f"POST /v1/stats/sql HTTP/1.1\r\nhost: x\r\ncontent-length: {len(heavy)}\r\n"
                    f"content-type: application/json\r\nauthorization: {plane.basic('viewer')}\r\n"
                )
                nursery.start_soon(_hold, plane.api, request.encode() + b"\r\n" + heavy)
            async with httpx.AsyncClient(base_url=plane.url, timeout=5) as client:
                auth = ("victim", plane.secrets["victim"])
                made = await client.post("/v1/pipelines/small/runs", auth=auth)
                assert made.status_code == 201
                health = await client.get("/v1/health")
                assert health.json()["status"] == "ok"
            plane.process.send_signal(signal.SIGTERM)
            with trio.fail_after(15):
                await trio.to_thread.run_sync(plane.process.wait)
            nursery.cancel_scope.cancel()

    trio.run(main)


async def _hold(address: tuple[str, int], request: bytes) -> None:
    stream = await trio.open_tcp_stream(*address)
    async with stream:
        try:
            await stream.send_all(request)
            while await stream.receive_some():
                pass
        except trio.BrokenResourceError:
            pass
