"""Decides who is calling: HTTP Basic, secrets kept as scrypt hashes.

A hash costs 50 ms and 16 MiB by design, so that a stolen database gives no secrets away; what was
found right is remembered for a minute, so that a request costs none.
"""

import base64
import binascii
import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import trio

from control.model import limits
from control.model.errors import Unauthenticated, Unavailable
from control.model.states import Role
from store import clients
from store.clients import Login
from store.reader import Reader
from store.writer import Offload

_LOG2_N: Final = 14
_R: Final = 8
_P: Final = 1
Lookup = Callable[[str], Awaitable[Login | None]]
"""What to check a client's secret against; None: there is no such client."""

_REFUSED: Final = "the client id or its secret is missing or wrong"


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Who is calling, and as what."""

    client_id: str
    role: Role


def hash_secret(secret: str, salt: bytes) -> str:
    """A secret as it is stored; blocks for 50 ms. `salt`: 16 random bytes."""
    digest = _scrypt(secret, salt, _LOG2_N, _R, _P)
    return "$".join(("scrypt", str(_LOG2_N), str(_R), str(_P), salt.hex(), digest.hex()))


def matches(secret: str, stored: str) -> bool:
    """Whether a secret is the one that was hashed; blocks for 50 ms."""
    _, log2_n, r, p, salt, digest = stored.split("$")
    found = _scrypt(secret, bytes.fromhex(salt), int(log2_n), int(r), int(p))
    return hmac.compare_digest(found, bytes.fromhex(digest))


# What an unknown client's secret is compared with: no faster, and never equal.
_NOBODY: Final = f"scrypt${_LOG2_N}${_R}${_P}${bytes(16).hex()}${bytes(32).hex()}"


def stored_logins(reader: Reader) -> Lookup:
    """The clients of the state database."""

    async def login(client_id: str) -> Login | None:
        return await reader.read(lambda conn: clients.login(conn, client_id))

    return login


class Gate:
    """Finds out who calls. `cache_key`: 32 random bytes; secrets are not kept, even in memory."""

    def __init__(self, lookup: Lookup, offload: Offload, cache_key: bytes) -> None:
        self._lookup = lookup
        self._offload = offload
        self._cache_key = cache_key
        self._known: OrderedDict[bytes, tuple[Identity, float]] = OrderedDict()
        self._changes = 0
        self._hashing = trio.CapacityLimiter(limits.HASHES_MAX)

    def forget(self) -> None:
        """Clients changed: everybody is looked at again."""
        self._changes += 1
        self._known.clear()

    async def identify(self, authorization: str | None) -> Identity:
        """Who the header `Authorization` says; raises `Unauthenticated` or `Unavailable`."""
        client_id, secret = read_basic(authorization)
        return await self.verify(client_id, secret)

    async def verify(self, client_id: str, secret: str) -> Identity:
        """The client with this secret; raises `Unauthenticated` or `Unavailable`."""
        key = self._digest(client_id, secret)
        if (known := self._recall(key)) is not None:
            return known
        if self._hashing.statistics().tasks_waiting >= limits.HASHES_WAITING_MAX:
            message = "too many logins are being checked"
            raise Unavailable(message)
        async with self._hashing:
            if (known := self._recall(key)) is not None:
                return known  # The same client, checked while this one waited.
            changes = self._changes
            login = await self._lookup(client_id)
            stored = _NOBODY if login is None else login.secret_hash
            right = await self._offload(lambda: matches(secret, stored))
        identity = _admit(client_id, login, right=right)
        if changes == self._changes:
            self._known[key] = (identity, trio.current_time() + limits.AUTH_CACHE_S)
            if len(self._known) > limits.AUTH_CACHE_MAX:
                self._known.popitem(last=False)
        return identity

    def _recall(self, key: bytes) -> Identity | None:
        known = self._known.get(key)
        if known is None:
            return None
        identity, until = known
        if trio.current_time() >= until:
            del self._known[key]
            return None
        return identity

    def _digest(self, client_id: str, secret: str) -> bytes:
        # The separator cannot be in an id, so no two pairs give the same text.
        text = f"{client_id}:{secret}".encode()
        return hashlib.blake2b(text, key=self._cache_key, digest_size=32).digest()


def read_basic(authorization: str | None) -> tuple[str, str]:
    """The client id and secret of a header; raises `Unauthenticated`."""
    scheme, _, encoded = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        raise Unauthenticated(_REFUSED)
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise Unauthenticated(_REFUSED) from error
    client_id, colon, secret = text.partition(":")
    if not colon or not client_id or len(text) > limits.NAME_CHARS_MAX + limits.SECRET_CHARS_MAX:
        raise Unauthenticated(_REFUSED)
    return client_id, secret


def make_secret(random_bytes: Callable[[int], bytes]) -> str:
    """A new secret (or token): 256 random bits that can stand in a URL."""
    return base64.urlsafe_b64encode(random_bytes(32)).rstrip(b"=").decode()


def _admit(client_id: str, login: Login | None, *, right: bool) -> Identity:
    if login is None or not right:
        raise Unauthenticated(_REFUSED)
    if not login.enabled:
        message = f"the client {client_id} is disabled"
        raise Unauthenticated(message)
    return Identity(client_id=client_id, role=login.role)


def _scrypt(secret: str, salt: bytes, log2_n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(secret.encode(), salt=salt, n=1 << log2_n, r=r, p=p, dklen=32)
