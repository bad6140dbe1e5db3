"""Makes hostile HTTP requests from a seed: some are only odd, some are none at all."""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Final
from urllib.parse import quote

Chance = random.Random

PATHS: Final = (
    "/v1/health", "/v1/runs", "/v1/runs/1", "/v1/runs/1/jobs", "/v1/runs/1/cancel", "/v1/jobs/1",
    "/v1/jobs/1/logs", "/v1/jobs/1/explain", "/v1/pipelines", "/v1/pipelines/small",
    "/v1/pipelines/small/runs", "/v1/pipelines/validate", "/v1/runs:batch", "/v1/schedules",
    "/v1/schedules/1/backfill", "/v1/schedules/plan", "/v1/scheduled-runs", "/v1/forecast",
    "/v1/workers", "/v1/workers/x/drain", "/v1/partitions", "/v1/partitions/split", "/v1/queues",
    "/v1/doctor", "/v1/stats/summary", "/v1/stats/pipelines", "/v1/stats/slow-tasks",
    "/v1/stats/task", "/v1/stats/export", "/v1/stats/sql", "/v1/clients", "/v1/clients/victim-2",
    "/v1/hooks/token", "/v1/pipelines/small/hooks", "/v1/events", "/metrics",
    "/schema/openapi.json",
)  # fmt: skip
METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "PRI", "X")
NAMES: Final = (
    "name", "stages", "jobs", "stage", "kind", "params", "seconds", "input", "priority", "runs",
    "pipeline", "sql", "limit", "client_id", "role", "needs", "triggers", "schedules", "cron",
    "from", "until", "slow_share", "labels", "retry", "command", "when", "\x00", "$ref", "",
)  # fmt: skip
TEXTS: Final = (
    "", "x", "small", "Sleep", "Shell", "a" * 5_000, "\x00", "\x1b[2J", "\u202e", "😀", "1e999",
    "${{ run.x }}", "${{", "../../etc/passwd", "'; DROP TABLE runs; --", "0 0 * * *", "NaN",
    "SELECT 1", "SELECT repeat('x', 100000000)", "2026-01-01T00:00:00Z", "admin", "-1",
)  # fmt: skip
NUMBERS: Final = (0, 1, -1, 2**31, 2**53 + 1, 2**63, -(2**63) - 1, 10**30, 0.5, 1e308, -0.0)
MEDIA: Final = (
    "application/json", "application/yaml", "text/plain", "application/x-www-form-urlencoded",
    "multipart/form-data", "application/json; charset=utf-16", "x", "",
)  # fmt: skip
QUERIES: Final = ("limit", "cursor", "state", "pipeline", "client", "since", "window", "until",
                  "follow", "attempt", "format", "job", "filter", "bucket", "x")  # fmt: skip


def value(chance: Chance, depth: int = 4) -> object:
    """Any JSON value."""
    if depth and chance.random() < 0.5:
        if chance.random() < 0.3:
            return [value(chance, depth - 1) for _ in range(chance.randrange(4))]
        return {chance.choice(NAMES): value(chance, depth - 1) for _ in range(chance.randrange(6))}
    plain: list[object] = [chance.choice(TEXTS), chance.choice(NUMBERS), None, True, False]
    plain.append("".join(chr(chance.randrange(1, 0xD800)) for _ in range(chance.randrange(30))))
    return chance.choice(plain)


def document(chance: Chance) -> bytes:
    """A body, as JSON or nearly."""
    text = json.dumps(value(chance)).encode()
    bodies: Sequence[Callable[[], bytes]] = (
        lambda: text,
        lambda: text[: chance.randrange(len(text) + 1)],
        lambda: _flipped(text, chance),
        lambda: chance.randbytes(chance.randrange(200)),
        lambda: b"[" * chance.randrange(100_000),
        lambda: b'{"runs":[' + b'{"pipeline":"small"},' * 500 + b"0]}",
        lambda: b"a: &a [*a, *a]\nb: *a\n" * chance.randrange(200),
        lambda: b"- " * chance.randrange(2_000) + b"x",
        lambda: text * chance.randrange(1, 500),
    )
    return chance.choice(bodies)()


def request(chance: Chance, authorizations: Sequence[str]) -> bytes:
    """One request as bytes; at times several, or a part of one."""
    path = chance.choice(PATHS)
    if chance.random() < 0.2:
        path = _flipped(path.encode(), chance).decode("latin-1")
    if chance.random() < 0.2:
        path += chance.choice(["/", "//", "/..", "%2e%2e", "%00", "%ff", "?", "#", ";x", "/\x7f"])
    if chance.random() < 0.4:
        pairs = (f"{chance.choice(QUERIES)}={_quoted(chance)}" for _ in range(chance.randrange(4)))
        path += "?" + "&".join(pairs)
    body = document(chance) if chance.random() < 0.6 else b""
    lines = [f"{chance.choice(METHODS)} {path} HTTP/{chance.choice(['1.1'] * 8 + ['1.0', '2.0'])}"]
    lines += [f"{name}: {text}" for name, text in _headers(chance, authorizations, body).items()]
    data = "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + body
    return chance.choice(_MANGLERS)(data, chance)


def _headers(chance: Chance, authorizations: Sequence[str], body: bytes) -> Mapping[str, str]:
    headers = {"host": chance.choice(["127.0.0.1"] * 8 + ["evil.example", "", "\x1b[2J", "a:b:c"])}
    headers["authorization"] = chance.choice(authorizations)
    if body or chance.random() < 0.1:
        headers["content-length"] = str(len(body))
        headers["content-type"] = chance.choice(MEDIA)
    for name, texts in {
        "content-length": ("-1", "x", "0", "99999999999999999999", "1, 2"),
        "transfer-encoding": ("chunked", "gzip, chunked", "x"),
        "connection": ("close", "upgrade", "keep-alive, upgrade", ""),
        "upgrade": ("websocket", "h2c", "x"),
        "sec-websocket-version": ("13", "8", ""),
        "sec-websocket-key": ("x", "AAAAAAAAAAAAAAAAAAAAAA=="),
        "sec-websocket-extensions": ("permessage-deflate", "permessage-deflate; x=\"", ";;"),
        "origin": ("null", "http://evil.example", "http://127.0.0.1"),
        "expect": ("100-continue", "x"),
        "idempotency-key": ("k", " ", "k" * 300, "\x01"),
        "x-long": ("y" * 10_000, "y" * 20_000),
        "accept-encoding": ("gzip",),
        "range": ("bytes=0-1",),
    }.items():  # fmt: skip
        if chance.random() < 0.05:
            headers[name] = chance.choice(texts)
    return headers


def _quoted(chance: Chance) -> str:
    text = chance.choice([*TEXTS, *map(str, NUMBERS)])
    return quote(text[:100], safe="")


def _flipped(data: bytes, chance: Chance) -> bytes:
    changed = bytearray(data or b"x")
    for _ in range(chance.randrange(1, 4)):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed)


_MANGLERS: Final[Sequence[Callable[[bytes, Chance], bytes]]] = (
    *[lambda data, _chance: data] * 8,
    lambda data, chance: data[: chance.randrange(len(data))],
    _flipped,
    lambda data, _chance: data + data,
    lambda data, _chance: data.replace(b"\r\n", b"\n"),
    lambda data, chance: chance.randbytes(50) + data,
)
