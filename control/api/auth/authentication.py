"""Decides who is calling: HTTP Basic, secrets kept as scrypt hashes.

A hash costs 50 ms and 16 MiB by design, so that a stolen database gives no secrets away. What was
right is cached for a minute, and after that compared with the stored hash only: a request costs no
hash, however many wrong secrets others send.
"""

import base64
import binascii
import hashlib
import hmac
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, TypeVar

import msgspec
import trio

from control.admission.pool import Pool
from control.admission.tally import LimitCounters
from control.core.fair_use.rates import Rates
from control.model import limits
from control.model.errors import Busy, Unauthenticated
from control.model.names import Bound
from control.model.states import Role
from store import clients
from store.clients import StoredSecret
from store.database.reader import Reader
from store.database.writer import Offload

V = TypeVar("V")
_LOG2_N: Final = 14
_R: Final = 8
_P: Final = 1
Lookup = Callable[[str], Awaitable[StoredSecret | None]]
"""What to check a client's secret against; None: there is no such client."""

_REFUSED: Final = "the client id or its secret is missing or wrong"


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who is calling, and as what."""

    client_id: str
    role: Role


def hash_secret(secret: str, salt: bytes) -> str:
    """A secret as it is stored; blocks for 50 ms. `salt`: 16 random bytes."""
    digest = _scrypt(secret, salt, _LOG2_N, _R, _P)
    return "$".join(("scrypt", str(_LOG2_N), str(_R), str(_P), salt.hex(), digest.hex()))


def matches(secret: str, stored: str) -> bool:
    """Whether a secret is the one that was hashed; blocks for 50 ms.

    What is no hash that we could have made (on Kafka it comes from a topic) matches nothing.
    """
    try:
        _, log2_n, r, p, salt, digest = stored.split("$")
        found = _scrypt(secret, bytes.fromhex(salt), int(log2_n), int(r), int(p))
        return hmac.compare_digest(found, bytes.fromhex(digest))
    except ValueError:
        return False


# What an unknown client's secret is compared with: no faster, and never equal.
_NOBODY: Final = f"scrypt${_LOG2_N}${_R}${_P}${bytes(16).hex()}${bytes(32).hex()}"


def stored_logins(reader: Reader) -> Lookup:
    """The clients of the state database."""

    async def login(client_id: str) -> StoredSecret | None:
        return await reader.read(lambda conn: clients.login(conn, client_id))

    return login


class _Proven(msgspec.Struct, frozen=True):
    """A secret that was right: as long as this hash is stored, it still is."""

    secret_hash: str
    until: float


class _Check:
    """A login that is being verified: others with the same secret wait for what comes of it."""

    def __init__(self) -> None:
        self.done = trio.Event()
        self.refusal: Unauthenticated | Busy | None = None

    def require_right(self) -> None:
        """Raise what it was refused with."""
        if isinstance(self.refusal, Busy):
            raise Busy(str(self.refusal), retry_after_s=self.refusal.retry_after_s)
        if self.refusal is not None:
            raise Unauthenticated(str(self.refusal))


class Gate:
    """Finds out who calls. `cache_key`: 32 random bytes; secrets are not kept, even in memory.

    A secret that was verified in the last PROVEN_LOGIN_S is compared with the stored hash, not
    hashed, so wrong secrets of others do not delay it. Those are slowed by id and address before
    they are hashed, alike for ids that exist or not.
    """

    def __init__(
        self,
        lookup: Lookup,
        offload: Offload,
        cache_key: bytes,
        tally: LimitCounters | None = None,
    ) -> None:
        self._lookup = lookup
        self._offload = offload
        self._cache_key = cache_key
        self._tally = tally or LimitCounters()
        self._known: OrderedDict[bytes, tuple[Caller, float]] = OrderedDict()
        self._proven: OrderedDict[bytes, _Proven] = OrderedDict()
        self._wrong: OrderedDict[bytes, str] = OrderedDict()  # And which hash they do not fit.
        self._checks: dict[bytes, _Check] = {}  # Logins that are being verified.
        self._changes = 0
        self._hashing = Pool(
            Bound.LOGINS,
            self._tally,
            total=limits.HASHES_MAX,
            each=limits.HASHES_MAX,
            waiting=limits.HASHES_WAITING_MAX,
        )
        self._by_id = Rates(
            per_s=limits.LOGIN_TRIES_PER_S,
            burst=limits.LOGIN_TRIES_BURST,
            keys_max=limits.LOGIN_KEYS_MAX,
        )
        self._by_address = Rates(
            per_s=limits.LOGIN_ADDRESS_PER_S,
            burst=limits.LOGIN_ADDRESS_BURST,
            keys_max=limits.LOGIN_KEYS_MAX,
        )

    def forget(self) -> None:
        """Clients changed: everybody is looked at again."""
        self._changes += 1
        self._known.clear()

    async def identify(self, authorization: str | None, address: str = "") -> Caller:
        """Who the header `Authorization` says; raises what `verify` does."""
        client_id, secret = read_basic(authorization)
        return await self.verify(client_id, secret, address)

    async def verify(self, client_id: str, secret: str, address: str = "") -> Caller:
        """The client with this secret; raises `Unauthenticated`, `Busy`, or `Unavailable`.

        `address`: the network address that the secret came from.
        """
        key = self._digest(client_id, secret)
        while (known := self._recall(key)) is None and (check := self._checks.get(key)) is not None:
            await check.done.wait()  # The same login, of which one is enough.
            check.require_right()
        if known is not None:
            return known
        check = self._checks[key] = _Check()
        try:
            return await self._verified(key, client_id, secret, address)
        except (Unauthenticated, Busy) as error:
            check.refusal = error
            raise
        finally:
            del self._checks[key]
            check.done.set()

    async def _verified(self, key: bytes, client_id: str, secret: str, address: str) -> Caller:
        changes = self._changes
        identity = await self._renewed(key, client_id)
        if identity is None:
            identity = await self._hashed(key, client_id, secret, address)
        if changes == self._changes:
            self._known[key] = (identity, trio.current_time() + limits.AUTH_CACHE_S)
            if len(self._known) > limits.AUTH_CACHE_MAX:
                self._known.popitem(last=False)
        return identity

    async def _renewed(self, key: bytes, client_id: str) -> Caller | None:
        """The client, if this secret was right before and the stored hash is the same."""
        proven = self._proven.get(key)
        if proven is None or trio.current_time() >= proven.until:
            return None
        login = await self._lookup(client_id)
        if login is None or login.secret_hash != proven.secret_hash:
            self._proven.pop(key, None)
            return None
        return _admit(client_id, login)

    async def _hashed(self, key: bytes, client_id: str, secret: str, address: str) -> Caller:
        self._require_tries(address, client_id)
        login = await self._lookup(client_id)
        self._require_tries(address, client_id)  # Others may have come meanwhile.
        now = trio.current_time()
        stored = _NOBODY if login is None else login.secret_hash
        wait_s = self._by_address.wait_s(address, now)
        if wait_s == 0 and self._wrong.get(key) == stored:  # The same wrong secret as before.
            raise Unauthenticated(_REFUSED)
        # Taken before the hash, so that what comes at once from there is bounded as well.
        self._by_address.take(address, now)
        self._by_id.take(f"{address} {client_id}", now)
        if wait_s == 0:
            return await self._compared(key, client_id, secret, address, login)
        # Too many wrong ones came from there, which is no fault of a client beside them. Ids that
        # do not exist are not hashed; that and how long it takes is nothing the answer tells.
        if login is not None:
            with suppress(Unauthenticated, Busy):
                return await self._compared(key, client_id, secret, address, login)
        await trio.sleep_until(now + limits.LOGIN_UNDER_ATTACK_S)
        raise self._too_many(address, wait_s)

    async def _compared(
        self, key: bytes, client_id: str, secret: str, address: str, login: StoredSecret | None
    ) -> Caller:
        stored = _NOBODY if login is None else login.secret_hash
        if self._wrong.get(key) == stored:
            raise Unauthenticated(_REFUSED)
        async with self._hashing.hold(address):
            if (known := self._recall(key)) is not None:
                return known  # The same client, checked while this one waited.
            right = await self._offload(lambda: matches(secret, stored))
        now = trio.current_time()
        if login is None or not right:
            _remember(self._wrong, key, stored)
            raise Unauthenticated(_REFUSED)
        self._by_address.give_back(address, now)
        self._by_id.give_back(f"{address} {client_id}", now)
        _remember(self._proven, key, _Proven(stored, now + limits.PROVEN_LOGIN_S))
        return _admit(client_id, login)

    def _require_tries(self, address: str, client_id: str) -> None:
        wait_s = self._by_id.wait_s(f"{address} {client_id}", trio.current_time())
        if wait_s > 0:
            raise self._too_many(address, wait_s)

    def _too_many(self, address: str, wait_s: float) -> Busy:
        self._tally.refused(Bound.LOGINS, address=address)
        message = "too many wrong client ids or secrets came from this address; wait a moment"
        return Busy(message, retry_after_s=math.ceil(wait_s))

    def _recall(self, key: bytes) -> Caller | None:
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


def _remember(table: OrderedDict[bytes, V], key: bytes, value: V) -> None:
    table[key] = value
    table.move_to_end(key)
    if len(table) > limits.LOGIN_KEYS_MAX:
        table.popitem(last=False)


def _admit(client_id: str, login: StoredSecret) -> Caller:
    if not login.enabled:
        message = f"the client {client_id} is disabled"
        raise Unauthenticated(message)
    return Caller(client_id=client_id, role=login.role)


def _scrypt(secret: str, salt: bytes, log2_n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(secret.encode(), salt=salt, n=1 << log2_n, r=r, p=p, dklen=32)
