"""Owns the workers' websockets: lets them in, decodes frames, sends frames, notices silence.

It meets the dispatcher at one bounded channel (what workers say) and one queue a worker (what
they are told). A full channel stops reading from the sockets: TCP tells the workers to wait.
"""

import base64
import binascii
import math
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextvars import ContextVar

import msgspec
import structlog
import trio
from trio_websocket import (
    ConnectionClosed,
    WebSocketConnection,
    WebSocketRequest,
    WebSocketServer,
)
from wsproto.utilities import LocalProtocolError

from control.admission.door import AcceptedConnection
from control.admission.fair_use import FairUse
from control.admission.metered_stream import MeteredStream
from control.admission.pool import Pool
from control.admission.tally import LimitCounters
from control.core.dispatcher.partial_results import PartialResults
from control.core.fair_use.rates import network_of
from control.model import limits, outputs
from control.model.errors import Busy, ProtocolError, Unavailable
from control.model.names import Bound
from control.model.raw import NULL
from control.model.states import Outcome, Role
from control.model.worker import wire
from control.model.worker.websocket_pieces import pieces_of
from control.worker_channel import Arrival, Connected, Disconnected, Peer, Quiet, WorkerFrames

LOG = structlog.get_logger("gateway")
Authenticate = Callable[[str, str, str], Awaitable[Role | None]]
"""The role of a client with this secret, from this network address; None: refused.

Raises `Busy`, `Unavailable`.
"""

_RESULT = msgspec.json.Decoder(wire.Ended)
_SILENT = f"nothing was heard of it for {limits.SILENCE_S:g} s"
_MAY_WORK = frozenset({Role.WORKER, Role.ADMIN})


# The socket of the connection that is being served.
_STREAM: ContextVar[MeteredStream] = ContextVar("stream")


class _GatewayServer(WebSocketServer):
    """A server whose connections fail alone."""

    async def serve(self, guest: AcceptedConnection, tally: LimitCounters, large: Pool) -> None:
        """Serve one connection until its end."""
        stream = MeteredStream(guest, tally, large)
        _STREAM.set(stream)
        try:
            await self._handle_connection(stream)
        except* LocalProtocolError as group:
            # A ping that is read after we began to close cannot be answered any more; the library
            # lets that end everything.
            LOG.debug("worker.socket_failed", reason=str(group.exceptions[0]))
        except* Busy as group:  # No room for its message in time: it comes again.
            LOG.warning("worker.dropped", address=guest.host, reason=str(group.exceptions[0]))
        finally:
            stream.release()


class Gateway:
    """The server side of the worker protocol."""

    def __init__(
        self,
        host: str,
        port: int,
        authenticate: Authenticate,
        arrivals: trio.MemorySendChannel[Arrival],
        fair: FairUse | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._authenticate = authenticate
        self._arrivals = arrivals
        fair = fair or FairUse()
        self._tally = fair.tally
        self._door = fair.door(Bound.GATEWAY_CONNECTIONS)
        self._large = fair.frames
        self._hosts = fair.hosts
        self._partial = PartialResults()

    async def run(self, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; reports the port that was bound."""
        listeners = await trio.open_tcp_listeners(self._port, host=self._host)
        async with trio.open_nursery() as nursery:
            server = _GatewayServer(
                self._let_in,
                listeners,
                message_queue_size=2,
                max_message_size=limits.FRAME_BYTES_MAX,
                receive_buffer_size=limits.RECEIVE_BUFFER_BYTES,
                connect_timeout=limits.SILENCE_S,
                disconnect_timeout=limits.ACK_S,
            )
            task_status.started(listeners[0].socket.getsockname()[1])
            await self._door.accept(
                listeners, lambda guest: server.serve(guest, self._tally, self._large), nursery
            )

    async def _let_in(self, request: WebSocketRequest) -> None:
        try:
            await self._greet(request)
        except ConnectionClosed:
            return  # Whoever it was went away while it was being answered.

    async def _greet(self, request: WebSocketRequest) -> None:
        origin = next((each for name, each in request.headers if name.lower() == b"origin"), None)
        words = origin and self._hosts.refusal(None, origin.decode("latin-1"))
        if words:  # A page in a browser; workers send none.
            await request.reject(403, body=f"{words}\n".encode())
            return
        client, secret = _credentials(request)
        try:
            address = network_of(_STREAM.get().host)
            role = await self._authenticate(client, secret, address)
        except Busy as error:
            retry = [(b"Retry-After", str(error.retry_after_s).encode())]
            await request.reject(429, extra_headers=retry, body=f"{error}\n".encode())
            return
        except Unavailable as error:  # Unlike 401, this lets the worker come again.
            LOG.warning("worker.refused", client=client, reason=str(error))
            await request.reject(503, body=f"{error}\n".encode())
            return
        if role not in _MAY_WORK:
            LOG.warning("worker.refused", client=client, role=role)
            if role is None:
                await request.reject(401, body=b"wrong or missing client id and secret\n")
            else:
                await request.reject(403, body=b"the client needs the role worker or admin\n")
            return
        if wire.SUBPROTOCOL not in request.proposed_subprotocols:
            text = f"this gateway speaks {wire.SUBPROTOCOL}\n"
            await request.reject(400, body=text.encode())
            return
        _STREAM.get().accept()
        socket = await request.accept(subprotocol=wire.SUBPROTOCOL)
        try:
            await self._serve(socket, client)
        finally:
            # At the end of the process the closing handshake is not completed.
            with trio.move_on_after(limits.CLOSING_FRAME_S, shield=True):
                await socket.aclose()

    async def _serve(self, socket: WebSocketConnection, client: str) -> None:
        first = await _receive(socket)
        if isinstance(first, str) or not isinstance(first[0], wire.Hello):
            reason = first if isinstance(first, str) else "the first frame must be hello"
            await _refuse(socket, reason)
            return
        hello = first[0]
        if hello.version != wire.VERSION:
            await _refuse(socket, f"protocol version {hello.version} is not {wire.VERSION}")
            return
        _STREAM.get().welcome(limits.FRAME_BYTES_MAX)
        peer, worker = Peer(hello.worker), (client, hello.worker)
        await self._arrivals.send(Connected(peer, hello, client))
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._send, socket, peer, worker, hello, nursery.cancel_scope)
                reason = "the connection was closed"
                reason = await self._read(socket, peer, worker, first[1:])
                nursery.cancel_scope.cancel(reason)
        except trio.Cancelled:
            # The socket's own task has failed (or the process ends, where this reaches nobody).
            with trio.move_on_after(limits.ACK_S, shield=True):
                await self._arrivals.send(Disconnected(peer, "the connection failed"))
            raise
        # However long a dispatcher waits for a full disk: one that never hears of this would keep
        # the worker's leases for ever. At the end of the process nobody needs to know.
        await self._arrivals.send(Disconnected(peer, reason))

    async def _read(
        self,
        socket: WebSocketConnection,
        peer: Peer,
        worker: tuple[str, str],
        frames: list[wire.FromWorker],
    ) -> str:
        while True:
            if any(type(frame) is wire.Part for frame in frames):
                try:
                    frames = self._joined(worker, frames)
                except (ProtocolError, msgspec.MsgspecError, RecursionError) as error:
                    LOG.warning("worker.dropped", worker=peer.worker, reason=str(error))
                    return f"malformed frames: {error}"
            if frames:
                await self._arrivals.send(WorkerFrames(peer, frames))
                _STREAM.get().handled()
            received = await self._hear(socket, peer)
            if isinstance(received, str):
                LOG.warning("worker.dropped", worker=peer.worker, reason=received)
                return received
            frames = received

    def _joined(
        self, worker: tuple[str, str], frames: Sequence[wire.FromWorker]
    ) -> list[wire.FromWorker]:
        """The frames with whole results in place of their last parts."""
        joined: list[wire.FromWorker] = []
        for frame in frames:
            if type(frame) is not wire.Part:
                joined.append(frame)
            elif (whole := self._partial.add(worker, frame)) is not None:
                joined.append(_with_sound_output(_RESULT.decode(whole)))
        return joined

    async def _send(
        self,
        socket: WebSocketConnection,
        peer: Peer,
        worker: tuple[str, str],
        hello: wire.Hello,
        done: trio.CancelScope,
    ) -> None:
        try:
            while frames := await peer.take():
                first = frames[0]
                if hello.parts and type(first) is wire.Welcome:
                    received = self._partial.received(worker)
                    first = msgspec.structs.replace(first, received=received)
                    # Alone: on a slow link the worker shall know soon that it is welcome.
                    await _send(socket, [first])
                    frames = frames[1:]
                await _send(socket, frames)
        except (ConnectionClosed, LocalProtocolError):
            pass
        done.cancel("nothing more can be sent")

    async def _hear(self, socket: WebSocketConnection, peer: Peer) -> list[wire.FromWorker] | str:
        """The next frames, or why there are none; says so when they are late.

        Of a message that takes its time, what has come of it counts.
        """
        stream, began_s = _STREAM.get(), trio.current_time()
        late_s = began_s + limits.QUIET_S
        is_quiet = False
        while True:
            with trio.move_on_at(late_s):
                return await _receive(socket, math.inf)
            patience_s = limits.SILENCE_S if is_quiet else limits.QUIET_S
            late_s = max(began_s, stream.alive_s) + patience_s
            if trio.current_time() < late_s:
                continue
            if is_quiet:
                return _SILENT
            await self._arrivals.send(Quiet(peer))
            is_quiet = True
            late_s += limits.SILENCE_S - limits.QUIET_S


async def _send(socket: WebSocketConnection, frames: Sequence[wire.ToWorker]) -> None:
    for message in _messages(frames) if frames else ():
        for piece in pieces_of(message):
            await socket._send(piece)  # noqa: SLF001 - The library sends whole messages only.


def _messages(frames: Sequence[wire.ToWorker]) -> Iterator[bytes]:
    """The frames as few messages, none much larger than is good for what waits behind it."""
    message = wire.ENCODER.encode(frames)
    if len(message) <= limits.MESSAGE_BYTES or len(frames) == 1:
        yield message
        return
    half = len(frames) // 2
    yield from _messages(frames[:half])
    yield from _messages(frames[half:])


async def _receive(
    socket: WebSocketConnection, patience_s: float = limits.SILENCE_S
) -> list[wire.FromWorker] | str:
    """The next frames, or why there are none."""
    try:
        with trio.fail_after(patience_s):
            message = await socket.get_message()
    except trio.TooSlowError:
        return _SILENT
    except ConnectionClosed:
        return "the connection was closed"
    try:
        _STREAM.get().take(message)
        # As text: what stays undecoded inside must be valid UTF-8 as well.
        text = message if isinstance(message, str) else message.decode()
        frames = wire.FROM_WORKER.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return f"malformed frames: {error}"
    if not 1 <= len(frames) <= limits.FRAME_MESSAGES_MAX:
        return f"{len(frames)} frames in one message; allowed are 1 to {limits.FRAME_MESSAGES_MAX}"
    for at, frame in enumerate(frames):
        if type(frame) is wire.Ended:
            frames[at] = _with_sound_output(frame)
    return frames


def _with_sound_output(frame: wire.Ended) -> wire.Ended:
    """The result itself, or in place of one that cannot be stored a failure that says why."""
    error = outputs.problem(bytes(frame.output))
    if error is None:
        return frame
    outcome = Outcome.FAILED if frame.outcome == Outcome.DONE else frame.outcome
    error = frame.error or error
    return msgspec.structs.replace(frame, outcome=outcome, error=error, output=NULL)


async def _refuse(socket: WebSocketConnection, reason: str) -> None:
    LOG.warning("worker.refused", reason=reason)
    await socket.send_message(wire.ENCODER.encode([wire.Refused(reason=reason)]))


def _credentials(request: WebSocketRequest) -> tuple[str, str]:
    for name, value in request.headers:
        if name.lower() == b"authorization" and value[:6].lower() == b"basic ":
            try:
                text = base64.b64decode(value[6:], validate=True).decode()
            except (binascii.Error, UnicodeDecodeError):
                return "", ""
            client, _, secret = text.partition(":")
            return client, secret
    return "", ""
