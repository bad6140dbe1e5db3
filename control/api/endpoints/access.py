"""Owns the calls about who may come in: clients with their secrets, hooks with their tokens."""

from collections.abc import Callable
from typing import Annotated, Final

import msgspec
import structlog
from msgspec import UNSET, Meta

from control.admission.fair_use import FairUse
from control.api.auth.authentication import Gate, hash_secret, make_secret
from control.api.auth.permissions import check_pipeline
from control.api.endpoints.schemas import ChangeClient, NewClient, PageQuery
from control.api.http.request import (
    ApiResponse,
    Call,
    Operation,
    Route,
    read_cursor,
    routes_of,
    write_cursor,
)
from control.core.pipelines.ownership import bar
from control.model.api.views import ClientView, HookView, Page
from control.model.clock import Clock
from control.model.names import Change
from control.transactions import client_announcements
from store import catalog, clients, schedules
from store.clients import Terms
from store.database.connection import Connection
from store.database.reader import Reader
from store.database.writer import Tx, Writer

LOG = structlog.get_logger("api")

_BODY: Final = (400, 413, 415, 422)
_NEW: Final = msgspec.json.Decoder(NewClient)
_CHANGE: Final = msgspec.json.Decoder(ChangeClient)


class ClientWithSecret(ClientView, frozen=True, kw_only=True):
    """A client with its secret, which is shown this once."""

    client_secret: Annotated[
        str, Meta(description="Shown this once; keep it.", examples=["Zm9vYmFy"])
    ]


class HookWithToken(HookView, frozen=True, kw_only=True):
    """A hook with its token, which is shown this once."""

    token: Annotated[str, Meta(description="Shown this once; keep it.", examples=["c2VjcmV0"])]
    path: Annotated[str, Meta(description="Where to POST to.", examples=["/v1/hooks/c2VjcmV0"])]


class AccessCalls:
    """Carries out the calls about clients and hooks."""

    def __init__(
        self,
        *,
        reader: Reader,
        writer: Writer,
        gate: Gate,
        clock: Clock,
        fair: FairUse,
        random_bytes: Callable[[int], bytes],
        note_rotated: Callable[[str, str], None],
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._gate = gate
        self._clock = clock
        self._fair = fair
        self._random_bytes = random_bytes
        self._note_rotated = note_rotated

    def routes(self) -> list[Route]:
        """Which call is carried out by what."""
        return routes_of(
            self._clients,
            self._create,
            self._change,
            self._delete,
            self._rotate,
            self._hooks,
            self._add_hook,
            self._delete_hook,
        )

    @Operation(
        method="GET",
        path="/v1/clients",
        name="listClients",
        summary="List clients by name",
        tag="clients",
        answer=Page[ClientView],
        query=PageQuery,
        errors=(422,),
    )
    async def _clients(self, call: Call) -> ApiResponse:
        query = call.query(PageQuery)
        page = await self._reader.read(
            lambda conn: clients.listing(conn, after=query.cursor or "", limit=query.limit)
        )
        more = page[-1].client_id if len(page) == query.limit else None
        return ApiResponse(body=Page(items=page, next_cursor=more))

    @Operation(
        method="POST",
        path="/v1/clients",
        name="createClient",
        summary="Make a client; its secret is shown this once",
        tag="clients",
        answer=ClientWithSecret,
        status=201,
        body=NewClient,
        errors=(409, *_BODY),
    )
    async def _create(self, call: Call) -> ApiResponse:
        asked = await call.json(_NEW)
        secret, secret_hash = await self._secret()
        now_ms = self._clock.wall_ms()
        wanted = Terms(
            role=asked.role,
            priority=asked.priority,
            max_queued=asked.max_queued,
            max_running=asked.max_running,
            enabled=asked.enabled,
        )

        def work(tx: Tx) -> ClientView:
            made = clients.create(
                tx.conn, asked.client_id, wanted, secret_hash=secret_hash, now_ms=now_ms
            )
            client_announcements.tell(tx, made)
            return made

        return _with_secret(await self._writer.write(work), secret)

    @Operation(
        method="PATCH",
        path="/v1/clients/{client_id}",
        name="changeClient",
        summary="Change a client; its waiting jobs are bound by the new limits too",
        tag="clients",
        answer=ClientView,
        body=ChangeClient,
        errors=(404, 409, *_BODY),
    )
    async def _change(self, call: Call) -> ApiResponse:
        client_id, asked = call.text("client_id"), await call.json(_CHANGE)
        changes = {
            name: value
            for name in ChangeClient.__struct_fields__
            if (value := getattr(asked, name)) is not UNSET
        }

        def work(tx: Tx) -> ClientView:
            now = clients.get(tx.conn, client_id)
            present = {name: getattr(now, name) for name in Terms.__struct_fields__}
            changed = clients.update(tx.conn, client_id, Terms(**(present | changes)))
            if bar(clients.standing(tx.conn, client_id)) is not None:
                schedules.hold_all(tx.conn, client_id)
            tx.touch(Change.SCHEDULES)  # Or they may start something again.
            client_announcements.tell(tx, changed)
            return changed

        changed = await self._writer.write(work)
        self._gate.forget()
        return ApiResponse(body=changed)

    @Operation(
        method="DELETE",
        path="/v1/clients/{client_id}",
        name="deleteClient",
        summary="Delete a client that has no open runs and no pipelines",
        tag="clients",
        status=204,
        errors=(404, 409),
    )
    async def _delete(self, call: Call) -> ApiResponse:
        client_id = call.text("client_id")

        def work(tx: Tx) -> None:
            client = clients.get(tx.conn, client_id)
            clients.delete(tx.conn, client_id)
            client_announcements.tell(tx, client)

        await self._writer.write(work)
        self._gate.forget()
        return ApiResponse()

    @Operation(
        method="POST",
        path="/v1/clients/{client_id}/rotate",
        name="rotateClient",
        summary="Give a client a new secret; the old one is refused from now on",
        tag="clients",
        answer=ClientWithSecret,
        errors=(404,),
    )
    async def _rotate(self, call: Call) -> ApiResponse:
        client_id = call.text("client_id")
        secret, secret_hash = await self._secret()

        def work(tx: Tx) -> ClientView:
            rotated = clients.rotate(tx.conn, client_id, secret_hash)
            client_announcements.tell(tx, rotated)
            return rotated

        client = await self._writer.write(work)
        self._gate.forget()
        try:
            await self._fair.lanes.files(lambda: self._note_rotated(client_id, secret))
        except OSError as error:  # The answer has it: the operator can write it there.
            LOG.warning("credentials.unwritten", client=client_id, reason=str(error))
        return _with_secret(client, secret)

    @Operation(
        method="GET",
        path="/v1/pipelines/{name}/hooks",
        name="listHooks",
        summary="List a pipeline's hooks, without their tokens",
        tag="hooks",
        answer=Page[HookView],
        query=PageQuery,
        errors=(404, 422),
    )
    async def _hooks(self, call: Call) -> ApiResponse:
        name, query, who = call.text("name"), call.query(PageQuery), call.who
        after = read_cursor(query.cursor) or 0

        def look(conn: Connection) -> list[HookView]:
            check_pipeline(who, name, catalog.owned(conn, name).client)
            return catalog.hooks(conn, name, after=after, limit=query.limit)

        page = await self._reader.read(look)
        more = page[-1].id if len(page) == query.limit else None
        return ApiResponse(body=Page(items=page, next_cursor=write_cursor(more)))

    @Operation(
        method="POST",
        path="/v1/pipelines/{name}/hooks",
        name="createHook",
        summary="Make a hook; its token is shown this once",
        tag="hooks",
        answer=HookWithToken,
        status=201,
        errors=(404, 409),
    )
    async def _add_hook(self, call: Call) -> ApiResponse:
        name, who, now_ms = call.text("name"), call.who, self._clock.wall_ms()
        token = make_secret(self._random_bytes)

        def work(tx: Tx) -> HookView:
            check_pipeline(who, name, catalog.owned(tx.conn, name).client)
            return catalog.add_hook(tx.conn, name, who.client_id, token=token, now_ms=now_ms)

        hook = await self._writer.write(work)
        shown = HookWithToken(
            **msgspec.structs.asdict(hook), token=token, path=f"/v1/hooks/{token}"
        )
        return ApiResponse(body=shown)

    @Operation(
        method="DELETE",
        path="/v1/pipelines/{name}/hooks/{hook_id}",
        name="deleteHook",
        summary="Close a hook",
        tag="hooks",
        status=204,
        errors=(404, 422),
    )
    async def _delete_hook(self, call: Call) -> ApiResponse:
        name, hook_id, who = call.text("name"), call.number("hook_id"), call.who

        def work(tx: Tx) -> None:
            check_pipeline(who, name, catalog.owned(tx.conn, name).client)
            catalog.delete_hook(tx.conn, name, hook_id)

        await self._writer.write(work)
        return ApiResponse()

    async def _secret(self) -> tuple[str, str]:
        """A new secret, and how it is stored."""
        secret, salt = make_secret(self._random_bytes), self._random_bytes(16)
        return secret, await self._fair.lanes.hashes(lambda: hash_secret(secret, salt))


def _with_secret(client: ClientView, secret: str) -> ApiResponse:
    fields = msgspec.structs.asdict(client)
    return ApiResponse(body=ClientWithSecret(**fields, client_secret=secret))
