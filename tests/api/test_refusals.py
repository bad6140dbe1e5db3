"""Sends what nobody should send: every answer is a problem in words, none is a server's error."""

import base64
from collections.abc import Callable
from typing import TypeVar

import httpx
import msgspec
import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from control.api.auth.authentication import Gate, hash_secret, matches, stored_logins
from control.api.http.request import check_input
from control.model import limits
from control.model.errors import Invalid
from tests.api.serving import PIPELINE, SECRET, Serving

T = TypeVar("T")
JSON = {"content-type": "application/json"}


def problem(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found = answer.json()
    assert set(found) >= {"type", "title", "status", "detail"}
    assert found["status"] == status
    return str(found["detail"])


async def test_paths_and_methods_that_do_not_exist(server: Serving) -> None:
    async with server.as_client("admin") as client:
        problem(await client.get("/"), 404)
        problem(await client.get("/v1/nothing"), 404)
        problem(await client.get("/v1/runs/1/2/3"), 404)
        wrong = await client.put("/v1/runs")
        problem(wrong, 405)
        assert set(wrong.headers["allow"].split(", ")) >= {"GET", "POST"}
        problem(await client.get("/v1/events"), 426)
        for number in ("x", "-1", "1.5", "%00", "9" * 30, "٣"):
            assert "id" in problem(await client.get(f"/v1/runs/{number}"), 422)


async def test_head_is_get_without_a_body(server: Serving) -> None:
    async with server.as_client("admin") as client:
        for path in ("/v1/health", "/v1/runs", "/v1/stats/export?format=csv", "/metrics"):
            get, head = await client.get(path), await client.head(path)
            assert (head.status_code, head.content) == (get.status_code, b"")
            assert head.headers["content-type"] == get.headers["content-type"]
        assert (await client.head("/v1/health")).headers["content-length"] != "0"
        assert (await client.head("/v1/runs/77")).status_code == 404
        assert (await client.head("/v1/hooks/token")).status_code == 405


async def test_head_of_a_followed_log_does_not_wait_for_its_end(server: Serving) -> None:
    async with server.as_client("admin") as client:
        body = {"pipeline": PIPELINE}
        run = (await client.post("/v1/runs", json=body)).json()["id"]
        job = (await client.get(f"/v1/runs/{run}/jobs")).json()["items"][0]["id"]
        assert (await client.head(f"/v1/jobs/{job}/logs?follow=true")).status_code == 200


async def test_head_needs_the_role_that_get_needs(server: Serving) -> None:
    async with server.as_client(None) as nobody, server.as_client("viewer") as viewer:
        assert (await nobody.head("/v1/runs")).status_code == 401
        assert (await viewer.head("/v1/clients")).status_code == 403


async def test_bodies_that_are_not_json(server: Serving) -> None:
    async with server.as_client("admin") as client:
        await client.put("/v1/pipelines/nightly", json=PIPELINE)
        path = "/v1/pipelines/nightly/runs"
        for body in (b"{", b"\xff", b'{"input":"\xff"}', b'{"input":NaN}', b"nonsense"):
            problem(await client.post(path, content=body, headers=JSON), 400)
        for body in (b"[]", b"1", b'{"inputs":1}', b'{"priority":"1"}', b'{"priority":1e9}'):
            problem(await client.post(path, content=body, headers=JSON), 422)
        for text in (b"1e999", b'"\\ud800"', b"[" * 100 + b"]" * 100):
            body = b'{"input":' + text + b"}"
            refused = await client.post(path, content=body, headers=JSON)
            assert refused.status_code in {400, 422}, text
        deep = b'{"input":' + b"[" * 200_000 + b"]" * 200_000 + b"}"
        problem(await client.post(path, content=deep, headers=JSON), 422)
        for media in ("text/plain", "application/yaml", "application/jsonp", ""):
            headers = {"content-type": media}
            problem(await client.post(path, content=b"{}", headers=headers), 415)
        large = msgspec.json.encode({"input": "x" * limits.INPUT_BYTES_MAX})
        assert "at most" in (await client.post(path, content=large, headers=JSON)).text


async def test_bodies_that_are_too_large(server: Serving) -> None:
    login = base64.b64encode(f"admin:{SECRET}".encode()).decode()
    head = (
        f"POST /v1/runs:batch HTTP/1.1\r\nHost: here\r\nAuthorization: Basic {login}\r\n"
        "Content-Type: application/json\r\n"
    )
    said = f"{head}Content-Length: {limits.BODY_BYTES_MAX + 1}\r\n\r\n"
    chunk = b"100000\r\n" + b" " * limits.MIB + b"\r\n"
    chunks = limits.BODY_BYTES_MAX // limits.MIB  # And then one byte: nothing is left unread.
    for request in (said.encode(), f"{head}Transfer-Encoding: chunked\r\n\r\n".encode()):
        stream = await trio.open_tcp_stream("127.0.0.1", server.port)
        async with stream:
            await stream.send_all(request)
            for _ in range(0 if request == said.encode() else chunks):
                await stream.send_all(chunk)
            await stream.send_all(b"1\r\n \r\n")
            answer = await stream.receive_some()
        assert answer.startswith(b"HTTP/1.1 413"), answer
        assert b"application/problem+json" in answer


async def test_a_store_that_fails_asks_to_come_again(server: Serving) -> None:
    def broken(_: object) -> None:
        server.parts.writer._conn.execute("SELECT nonsense")  # noqa: SLF001 - a real failure.

    with pytest.raises(Exception, match="nonsense"):
        await server.parts.writer.write(broken)
    async with server.as_client(None) as client:
        health = await client.get("/v1/health")
        assert health.status_code == 503
        assert health.json()["status"] == "down: store"


async def test_health_says_which_part_is_down(server: Serving) -> None:
    async with server.as_client(None) as client:
        assert (await client.get("/v1/health")).json()["status"] == "ok"
        server.health.problems["balancer"] = "it has stopped"
        down = await client.get("/v1/health")
        assert down.status_code == 503
        assert down.json()["parts"] == {"store": "ok", "balancer": "it has stopped"}


@pytest.mark.parametrize(
    ("method", "path", "body", "hint"),
    [
        ("GET", "/v1/runs?state=LATE", None, "one of: READY, IN_PROGRESS, DONE, CANCELLED, ERROR"),
        ("GET", "/v1/runs?page=2", None, "one of: pipeline, state"),
        ("PATCH", "/v1/jobs/1", {"urgency": 1}, "one of: priority"),
        ("POST", "/v1/clients", {"client_id": "x", "role": "boss"}, "one of: admin, operator"),
    ],
)
async def test_a_word_that_is_unknown_is_answered_with_those_that_are_not(
    server: Serving, method: str, path: str, body: object, hint: str
) -> None:
    async with server.as_client("admin") as client:
        answer = await client.request(method, path, json=body)
    assert answer.status_code == 422
    assert answer.json()["problems"][0]["hint"].startswith(hint)


async def test_anything_at_all_is_answered(server: Serving) -> None:
    paths = [
        ("POST", "/v1/pipelines"),
        ("PUT", "/v1/pipelines/nightly"),
        ("POST", "/v1/runs"),
        ("POST", "/v1/runs:batch"),
        ("POST", "/v1/clients"),
        ("PATCH", "/v1/jobs/1"),
        ("POST", "/v1/schedules/1/backfill"),
        ("POST", "/v1/hooks/none"),
    ]
    samples = list(_samples())
    async with server.as_client("admin") as client:
        for method, path in paths:
            for media, body in samples:
                headers = {"content-type": media}
                answer = await client.request(method, path, content=body, headers=headers)
                assert 400 <= answer.status_code < 500, (path, body, answer.text)
                assert answer.headers["content-type"] == "application/problem+json"


def _samples() -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []

    @settings(max_examples=40, database=None, derandomize=True)
    @given(
        st.sampled_from(["application/json", "application/yaml", "text/html"]),
        st.one_of(
            st.binary(max_size=200),
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.text(max_size=20),
                lambda inner: (
                    st.lists(inner, max_size=4)
                    | st.dictionaries(
                        st.sampled_from(["runs", "pipeline", "jobs", "input", "priority", "x"]),
                        inner,
                    )
                ),
            ).map(_encoded),
        ),
    )
    def collect(media: str, body: bytes) -> None:
        found.append((media, body))

    collect()
    return found


def _encoded(value: object) -> bytes:
    try:
        return msgspec.json.encode({"x": value})
    except (UnicodeEncodeError, OverflowError):
        return b"{"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(st.binary(max_size=300))
def test_inputs_are_carried_or_refused(body: bytes) -> None:
    try:
        kept = check_input(msgspec.Raw(body), "input")
    except Invalid:
        return
    assert bytes(kept) == body
    msgspec.json.decode(body)


def test_hashes_tell_only_the_right_secret() -> None:
    stored = hash_secret("one", b"s" * 16)
    assert stored.startswith("scrypt$14$8$1$")
    assert matches("one", stored)
    assert not matches("two", stored)
    assert hash_secret("one", b"t" * 16) != stored


async def test_a_secret_is_hashed_once_a_minute(server: Serving) -> None:
    hashed = 0

    async def offload(work: Callable[[], T]) -> T:
        nonlocal hashed
        hashed += 1
        return await trio.to_thread.run_sync(work)

    gate = Gate(stored_logins(server.parts.reader), offload, bytes(32))
    header = "Basic " + base64.b64encode(f"viewer:{SECRET}".encode()).decode()
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(gate.identify, header)
    assert hashed <= limits.HASHES_MAX
    before = hashed
    await gate.identify(header)
    assert hashed == before
    gate.forget()
    await gate.identify(header)
    assert hashed == before
