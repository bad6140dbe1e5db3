"""Decides what a request says, which answers are good, and that jobs share nothing."""

import gzip
import json
from collections.abc import AsyncIterator, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from urllib.parse import quote, unquote

import msgspec
import pytest
import trio

from control.model import limits
from control.model.errors import JobFailed
from tests.workers.kind_runs import Runs
from workers.kinds.http import HTTP, HTTPParams

ASKED: dict[str, int] = {}
GONE = Event()
INPUT: dict[str, object] = {"run": None, "jobs": {}}


STATIC = {
    "/liar": b"{not json",
    "/deep": b"[" * 50_000 + b"]" * 50_000,
    "/big": b" " * (limits.OUTPUT_BYTES_MAX + 1),
}


class Handler(BaseHTTPRequestHandler):
    """Answers as the path says."""

    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        size = int(self.headers.get("content-length", 0))
        body = self.rfile.read(size).decode()
        status, headers, content = 200, {"content-type": "application/json"}, b""
        path = self.path.partition("?")[0]
        if path == "/echo":
            seen = {
                "method": self.command,
                "path": self.path,
                "body": body,
                "type": self.headers.get("content-type"),
                "cookie": self.headers.get("cookie"),
            }
            content = json.dumps(seen, indent=1).encode()
            headers["set-cookie"] = "who=ada"
        elif path == "/text":
            headers["content-type"], content = (
                "text/plain; charset=latin-1",
                "grün".encode("latin-1"),
            )
        elif path.startswith("/charset/"):
            headers["content-type"] = f"text/plain; charset={unquote(path.split('/')[2])}"
            content = b"gr\xc3\xbcn \\ud800"
        elif path in STATIC:
            content = STATIC[path]
        elif path.startswith("/coded/"):
            codings, length = path.split("/")[2:]
            content = b" " * int(length)
            for _ in codings.split(","):
                content = gzip.compress(content)
            headers["content-encoding"] = codings
        elif path.startswith("/job/"):
            _, _, name, needed = path.split("/")
            asked = ASKED[name] = ASKED.get(name, 0) + 1
            done = asked >= int(needed)
            status = 200 if done else 202
            content = json.dumps({"state": "done" if done else "busy", "asked": asked}).encode()
        elif path == "/moved":
            status, headers["location"] = 302, "/echo"
        elif path == "/private":
            status, content = 401, b"who are you?"
        else:
            status, content = 500, b"it broke: " + b"x" * 2000
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_DELETE(self) -> None:
        """Answer never, and say when the other side has closed."""
        ASKED["slow"] = 1
        self.connection.recv(1)
        GONE.set()

    do_GET = do_POST = do_PUT = answer  # noqa: N815 - The names http.server calls.

    def log_message(self, *_args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = Thread(target=listening.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()
        thread.join()


@pytest.fixture
async def http(tmp_path: Path) -> AsyncIterator[Runs]:
    runs = Runs(HTTP(), tmp_path)  # type: ignore[arg-type]
    yield runs
    await runs.kind.aclose()


async def seen(http: Runs, **params: object) -> dict[str, object]:
    output = await http(**params)
    assert isinstance(output, dict)
    assert output["status"] == 200
    assert isinstance(output["body"], dict)
    return output["body"]


async def test_a_json_answer(http: Runs, server: str) -> None:
    body = await seen(http, url=f"{server}/echo", query={"a": 1, "b": ["x", "y"]})
    assert (body["method"], body["path"], body["body"]) == ("GET", "/echo?a=1&b=x&b=y", "")


async def test_bodies(http: Runs, server: str) -> None:
    url = f"{server}/echo"
    body = await seen(http, url=url, method="post", body={"n": [1]})
    assert (body["method"], body["body"], body["type"]) == ("POST", '{"n":[1]}', "application/json")
    body = await seen(http, url=url, method="PUT", body="grün")
    assert (body["body"], body["type"]) == ("grün", "text/plain; charset=utf-8")
    headers = {"Content-Type": "application/x-own"}
    assert (await seen(http, url=url, method="PUT", body=[], headers=headers))["type"] == (
        "application/x-own"
    )


async def test_cookies_of_one_job_are_not_sent_by_another(http: Runs, server: str) -> None:
    await seen(http, url=f"{server}/echo")
    assert (await seen(http, url=f"{server}/echo"))["cookie"] is None


async def test_text_stays_text(http: Runs, server: str) -> None:
    output = await http(url=f"{server}/text")
    assert isinstance(output, dict)
    assert output["body"] == "grün"
    assert output["headers"]["content-type"].startswith("text/plain")
    liar = await http(url=f"{server}/liar")
    assert isinstance(liar, dict)
    assert liar["body"] == "{not json"
    deep = await http(url=f"{server}/deep")
    assert isinstance(deep, dict)
    assert deep["body"] == "[" * 50_000 + "]" * 50_000


async def test_unexpected_statuses_fail_with_the_start_of_the_body(http: Runs, server: str) -> None:
    with pytest.raises(JobFailed, match="500 Internal Server Error: it broke") as caught:
        await http(url=f"{server}/broken")
    assert len(str(caught.value)) < 1000
    with pytest.raises(JobFailed, match="302"):
        await http(url=f"{server}/moved")
    with pytest.raises(JobFailed, match="200"):
        await http(url=f"{server}/text", expect=404)


async def test_bad_credentials_fail_with_what_the_server_says(http: Runs, server: str) -> None:
    with pytest.raises(JobFailed, match=r"the answer was 401 Unauthorized: who are you\?"):
        await http(url=f"{server}/private", headers={"authorization": "Bearer wrong"})


async def test_a_stopped_request_closes_its_connection(http: Runs, server: str) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(http, url=f"{server}/", method="DELETE"))
        with trio.fail_after(60):
            while not ASKED.get("slow"):
                await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert await trio.to_thread.run_sync(GONE.wait, 60)


async def test_expected_statuses_are_success(http: Runs, server: str) -> None:
    output = await http(url=f"{server}/moved", expect=[200, 302])
    assert isinstance(output, dict)
    assert output["status"] == 302
    assert await http(url=f"{server}/broken", expect=500)


async def test_an_answer_that_is_too_big_fails(http: Runs, server: str) -> None:
    with pytest.raises(JobFailed, match="more than"):
        await http(url=f"{server}/big")


@pytest.mark.parametrize(
    "params",
    [
        {"url": "http://127.0.0.1:1/"},
        {"url": "http://"},
        {"url": "http://127.0.0.1:99999/"},
        {"url": "http://127.0.0.1/", "headers": {"a\n": "b"}},
        {"url": "http://127.0.0.1/", "headers": {"ä": "b"}},
    ],
)
async def test_what_cannot_be_sent_fails_in_words(http: Runs, params: dict[str, object]) -> None:
    with pytest.raises(JobFailed, match="request"):
        await http(**params)


async def test_an_answer_is_bounded_while_it_is_decoded(server: str, http: Runs) -> None:
    small = await http(url=f"{server}/coded/gzip,gzip/1000")
    assert isinstance(small, dict)
    assert small["body"] == " " * 1000
    for codings in ("gzip", "gzip,gzip"):
        with pytest.raises(JobFailed, match="more than"):
            await http(url=f"{server}/coded/{codings}/{100 * limits.MIB}")
    with pytest.raises(JobFailed, match="coding 'br'"):
        await http(url=f"{server}/coded/br/10")


@pytest.mark.parametrize(
    ("url", "query", "path"),
    [
        ("/echo?a=1", {"b": 2}, "/echo?a=1&b=2"),
        ("/echo?a=1", {"a": [2, True]}, "/echo?a=1&a=2&a=true"),
        ("/echo?a=%2F+x&&c", {"b": "ü &"}, "/echo?a=%2F+x&&c&b=%C3%BC+%26"),
        ("/echo?", {"b": ""}, "/echo?b="),
        ("/echo?a=1#part", {"b": 2}, "/echo?a=1&b=2"),
        ("/echo?a=1", {}, "/echo?a=1"),
    ],
)
async def test_the_query_of_the_url_stays(
    http: Runs, server: str, url: str, query: dict[str, object], path: str
) -> None:
    answer = await http(url=server + url, query=query)
    assert isinstance(answer, dict)
    assert answer["body"]["path"] == path


@pytest.mark.parametrize(
    "charset",
    [
        *("utf-8,gbk", "none", "", "x y", "undefined", "idna", "zlib", "rot13", "hex"),
        *("unicode_escape", "raw_unicode_escape", "mbcs", "a" * 1000, '"', "punycode"),
    ],
)
async def test_an_answer_in_a_charset_that_is_none_is_an_answer(
    http: Runs, server: str, charset: str
) -> None:
    answer = await http(url=f"{server}/charset/{quote(charset, safe='')}", method="POST")
    assert isinstance(answer, dict)
    assert answer["status"] == 200
    assert isinstance(answer["body"], str)
    if charset not in {"punycode", "hex"}:
        assert answer["body"].startswith("grün")


async def test_a_failure_without_words_has_those_of_its_cause(
    http: Runs,
) -> None:
    with pytest.raises(JobFailed, match=r"^the request failed: ConnectError: .*refused"):
        await http(url="http://127.0.0.1:1/")


@pytest.mark.parametrize("port", [99_999, 65_536])
async def test_a_port_that_is_none_is_refused_in_words(http: Runs, port: int) -> None:
    with pytest.raises(JobFailed, match=f"{port}.* 65535"):
        await http(url=f"http://127.0.0.1:{port}/")


async def test_the_request_is_sent_until_the_condition_holds(http: Runs, server: str) -> None:
    result = await http.raw(
        {
            "url": f"{server}/job/once/3",
            "until": "answer.body.state == 'done' && answer.status == run.wanted",
            "interval": 0.1,
        },
        job_input={"run": {"wanted": 200}, "jobs": {}},
    )
    output = json.loads(bytes(result.output))
    assert (output["status"], output["body"]["asked"]) == (200, 3)
    assert http.report.text == "the answer is 202, and `until` does not hold yet\n"


async def test_each_answer_must_be_an_expected_one(http: Runs, server: str) -> None:
    params = {"url": f"{server}/nothing", "until": "answer.status == 200", "interval": 0.1}
    with pytest.raises(JobFailed, match="the answer was 500"):
        await http.raw(params, job_input=INPUT)


@pytest.mark.parametrize(
    ("until", "words"),
    [
        ("answer.body.nothing == 1", "there is no 'nothing'"),
        ("answer.status", "it is 200, not true or false"),
        ("nobody.x == 1", "nobody"),
        ("answer.status == 'x' + 1", "Unsupported operation"),
    ],
)
async def test_a_condition_that_cannot_be_evaluated(
    http: Runs, server: str, until: str, words: str
) -> None:
    with pytest.raises(JobFailed, match=words):
        await http.raw({"url": f"{server}/job/{words}/1", "until": until}, job_input=INPUT)


@pytest.mark.parametrize(
    ("until", "words"),
    [
        ("answer.status ==", "until cannot be read: line 1, column 17"),
        ("(" * 1000, "until cannot be read"),
        ("", "length"),
    ],
)
def test_a_condition_that_cannot_be_read(until: str, words: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=words):
        msgspec.convert({"url": "http://x", "until": until}, HTTPParams)


async def test_a_condition_that_never_ends_keeps_nobody_else(http: Runs, server: str) -> None:
    endless = "true"
    for level in range(15):
        endless = f"[0,1,2,3,4,5,6,7,8,9].all(n{level}, {endless})"
    async with trio.open_nursery() as nursery:
        params = {"url": f"{server}/job/endless/1", "until": endless}
        nursery.start_soon(partial(http.raw, params, job_input=INPUT))
        with trio.fail_after(60):
            while not ASKED.get("endless"):
                await trio.lowlevel.checkpoint()
            other = {"url": f"{server}/job/other/1", "until": "answer.status == 200"}
            await http.raw(other, job_input=INPUT)
        nursery.cancel_scope.cancel()
    assert ASKED["endless"] == 1
