"""Owns what a hostile neighbour does, with many connections at once: see bench/neighbours.py."""

import base64
import os
import random
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Annotated, Final
from urllib.parse import urlsplit

import trio
import typer

READY: Final = "attack begins"
_MIB: Final = 2**20
_BODY: Final = 16 * _MIB
_LARGEST: Final = 64 * _MIB
_HEAVY: Final = "SELECT count(*) FROM range(1000000000000)"
_LARGE: Final = "SELECT repeat('x', 1000000) FROM range(10000)"
_JSON: Final = {"content-type": "application/json"}
_UPGRADE: Final = {
    "connection": "Upgrade",
    "upgrade": "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": base64.b64encode(bytes(16)).decode(),
}
_HUGE_FRAME: Final = b"\x82\xff" + (16 * 2**30).to_bytes(8, "big") + bytes(4)


class AttackTarget:
    """The two ports, and the secrets of the clients `viewer`, `submitter`."""

    def __init__(self, api: str, gateway: str, secrets: Mapping[str, str]) -> None:
        self.api = _address(api)
        self.gateway = _address(gateway)
        self._secrets = secrets

    def request(
        self,
        method: str,
        path: str,
        who: str = "",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> bytes:
        """A request as bytes."""
        lines = [f"{method} {path} HTTP/1.1", "host: 127.0.0.1"]
        if who:
            user = f"{who}:{self._secrets.get(who, 'wrong')}".encode()
            lines.append(f"authorization: Basic {base64.b64encode(user).decode()}")
        if body is not None:
            lines.append(f"content-length: {len(body)}")
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        return "\r\n".join([*lines, "", ""]).encode() + (body or b"")

    def json(self, path: str, who: str, body: bytes) -> bytes:
        """A POST as bytes."""
        return self.request("POST", path, who, _JSON, body)


Address = tuple[str, int]
Attack = Callable[[AttackTarget, random.Random], Awaitable[None]]


async def _exchange(address: Address, request: bytes, *, read: bool = True) -> None:
    """Send it, and take (or do not take) the answer until either side ends."""
    stream = await trio.open_tcp_stream(*address)
    async with stream, trio.open_nursery() as nursery:
        nursery.start_soon(_send, stream, request)
        if not read:
            await trio.sleep(30)
        answer, seen = b"", 0
        while read and (piece := await stream.receive_some()):
            answer, seen = (answer + piece)[-5:], seen + len(piece)
            if answer.endswith((b"}", b"0\r\n\r\n")) and b"HTTP/1.1" in piece[:16]:
                break
        nursery.cancel_scope.cancel()


async def _send(stream: trio.SocketStream, data: bytes) -> None:
    with suppress(trio.BrokenResourceError):
        await stream.send_all(data)


async def _hold(address: Address, first: bytes, each_s: bytes = b"") -> None:
    """Stay connected for as long as one may, and send a little each second."""
    stream = await trio.open_tcp_stream(*address)
    async with stream, trio.open_nursery() as nursery:

        async def trickle() -> None:
            with suppress(trio.BrokenResourceError):
                await stream.send_all(first)
                while each_s:
                    await trio.sleep(1)
                    await stream.send_all(each_s)

        nursery.start_soon(trickle)
        while await stream.receive_some():
            pass
        nursery.cancel_scope.cancel()


async def _huge_frame(target: AttackTarget, _chance: random.Random) -> None:
    stream = await trio.open_tcp_stream(*target.api)
    async with stream:
        await stream.send_all(target.request("GET", "/v1/events", "viewer", _UPGRADE))
        await stream.receive_some()
        await stream.send_all(_HUGE_FRAME)
        while True:
            await stream.send_all(bytes(_MIB))


async def _nothing(_target: AttackTarget, _chance: random.Random) -> None:
    await trio.sleep(1)


def _calls(make: Callable[[AttackTarget, random.Random], bytes], *, read: bool = True) -> Attack:
    async def attack(target: AttackTarget, chance: random.Random) -> None:
        await _exchange(target.api, make(target, chance), read=read)

    return attack


def _wrong(chance: random.Random) -> str:
    return f"nobody-{chance.randrange(10**9)}"


def _batch() -> bytes:
    return b'{"runs":[' + b",".join([b'{"pipeline":"hostile"}'] * 2_000) + b"]}"


_LARGE_BODY: Final = b'{"runs":[' + b'{"pipeline":"x"},' * (_BODY // 17 - 2) + b"1]}"
_YAML: Final = "name: big\nstages: [a]\njobs:\n" + "".join(
    f"  - {{name: j{n}, stage: a, kind: Sleep, params: {{seconds: 1}}}}\n" for n in range(17_000)
)

ATTACKS: Final[Mapping[str, Attack]] = {
    "nothing": _nothing,
    "wrong-logins": _calls(lambda to, chance: to.request("GET", "/v1/runs", _wrong(chance))),
    "one-wrong-login": _calls(lambda to, _: to.request("GET", "/v1/runs", "victim")),
    "idle-api": lambda to, _: _hold(to.api, b""),
    "idle-gateway": lambda to, _: _hold(to.gateway, b""),
    "slow-heads": lambda to, _: _hold(to.api, b"GET / HTTP/1.1\r\nx: ", b"y"),
    "slow-bodies": lambda to, _: _hold(
        to.api, to.json("/v1/runs:batch", "submitter", _LARGE_BODY)[:2_000], b" "
    ),
    "large-bodies": _calls(lambda to, _: to.json("/v1/runs:batch", "submitter", _LARGE_BODY)),
    "large-bodies-of-nobody": _calls(lambda to, _: to.json("/v1/hooks/x", "", _LARGE_BODY)),
    "batches": _calls(lambda to, _: to.json("/v1/runs:batch", "submitter", _batch())),
    "heavy-sql": _calls(lambda to, _: to.json("/v1/stats/sql", "viewer", _sql(_HEAVY))),
    "large-sql": _calls(lambda to, _: to.json("/v1/stats/sql", "viewer", _sql(_LARGE))),
    "exports": _calls(
        lambda to, _: to.request("GET", "/v1/stats/export?format=csv", "viewer"), read=False
    ),
    "event-sockets": lambda to, _: _hold(
        to.api, to.request("GET", "/v1/events", "viewer", _UPGRADE)
    ),
    "huge-frames": _huge_frame,
    "log-followers": lambda to, _: _hold(
        to.api, to.request("GET", "/v1/jobs/1/logs?follow=true", "viewer")
    ),
    "pages": _calls(lambda to, _: to.request("GET", "/v1/runs?limit=1000", "viewer")),
    "unread-pages": _calls(
        lambda to, _: to.request("GET", "/v1/runs?limit=1000", "viewer"), read=False
    ),
    "yaml": _calls(
        lambda to, _: to.request(
            "POST",
            "/v1/pipelines/validate",
            "viewer",
            {"content-type": "application/yaml"},
            _YAML.encode()[: _MIB - 1],
        )
    ),
    "gateway-logins": lambda to, chance: _exchange(
        to.gateway, to.request("GET", "/", _wrong(chance), _UPGRADE)
    ),
    "gateway-garbage": lambda to, chance: _exchange(to.gateway, chance.randbytes(_MIB)),
}


def _sql(text: str) -> bytes:
    return b'{"sql":"%b"}' % text.encode()


async def _again(attack: Attack, target: AttackTarget, chance: random.Random) -> None:
    while True:
        with suppress(OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            try:
                await attack(target, chance)
            except* (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
                pass
        await trio.sleep(0.01)


def main(
    name: Annotated[str, typer.Argument(help=f"One of: {', '.join(ATTACKS)}.")],
    api: Annotated[str, typer.Option(help="Such as http://127.0.0.1:8700.")],
    gateway: Annotated[str, typer.Option(help="Such as ws://127.0.0.1:8701.")],
    connections: Annotated[int, typer.Option(help="At once.")] = 200,
    seed: Annotated[int, typer.Option(help="Of all chance.")] = 1,
) -> None:
    """Attack until SIGTERM. TP_VIEWER_SECRET, TP_SUBMITTER_SECRET: of the clients so called."""
    secrets = {
        who: os.environ.get(f"TP_{who.upper()}_SECRET", "") for who in ("viewer", "submitter")
    }
    target = AttackTarget(api, gateway, secrets)

    async def attack() -> None:
        print(READY, flush=True)
        async with trio.open_nursery() as nursery:
            for number in range(connections):
                chance = random.Random(seed * 1_000_003 + number)
                nursery.start_soon(_again, ATTACKS[name], target, chance)

    trio.run(attack)


def _address(url: str) -> Address:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 0


if __name__ == "__main__":
    typer.run(main)
