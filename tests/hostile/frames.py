"""Makes hostile websocket frames from a seed (RFC 6455), well masked or not."""

import random
from typing import Final

from tests.hostile import requests

Chance = random.Random

LENGTHS: Final = (0, 1, 125, 126, 127, 65_535, 65_536, 2**20, 2**31, 2**63, 2**64 - 1)
TEXTS: Final = (
    b"[]", b"{}", b"[{}]", b'[{"t":"beat","now_ms":1}]', b'[{"t":"hello","version":1}]',
    b'{"runs":[1]}', b'{"workers":true}', b"\xff", b"[" * 5_000, b"null", b"1e999",
    b'[{"t":"hello","version":1,"worker":"w","host":"h","slots":1,"now_ms":1}]',
    b'[{"t":"result","lease":[1,1,1],"outcome":"done","finished_ms":1,"duration":1}]',
)  # fmt: skip


def frames(chance: Chance) -> bytes:
    """A few frames, or what looks like some."""
    return b"".join(_frame(chance) for _ in range(chance.randrange(1, 6)))


def _frame(chance: Chance) -> bytes:
    if chance.random() < 0.1:
        return chance.randbytes(chance.randrange(1, 100))
    payload = chance.choice([*TEXTS, requests.document(chance), chance.randbytes(125)])
    first = chance.choice([0x81, 0x81, 0x81, 0x82, 0x01, 0x80, 0x00, 0x88, 0x89, 0x8A, 0xC1, 0x8F])
    length = len(payload) if chance.random() < 0.8 else chance.choice(LENGTHS)
    mask = 0x80 if chance.random() < 0.95 else 0
    if length < 126:
        head = bytes([first, mask | length])
    elif length < 65_536:
        head = bytes([first, mask | 126]) + length.to_bytes(2, "big")
    else:
        head = bytes([first, mask | 127]) + length.to_bytes(8, "big")
    if not mask:
        return head + payload
    key = chance.randbytes(4)
    return head + key + bytes(each ^ key[at % 4] for at, each in enumerate(payload))
