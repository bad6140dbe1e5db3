"""Owns the worker's socket: connects, says hello, carries messages, and comes back when it broke.

Jobs do not notice whether there is a connection. What they produce goes to disk first, and is
sent as soon as a gateway has welcomed the worker.
"""

import base64
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

import structlog
import trio
from trio_websocket import (
    ConnectionClosed,
    ConnectionRejected,
    DisconnectionTimeout,
    HandshakeError,
    WebSocketConnection,
    open_websocket_url,
)
from wsproto.utilities import LocalProtocolError

from control.model import limits
from control.model.errors import ProtocolError, TaskplaneError, Unavailable
from control.model.worker import wire
from control.model.worker.websocket_pieces import pieces_of
from control.model.worker.wire import Refused, Welcome
from workers.live_stream import LiveStream
from workers.protocol import WorkerProtocol
from workers.protocol_events import Forgotten, Phase, ProtocolEvent
from workers.spool import Spool
from workers.wakeup import Doorbell

_NOT_ALLOWED: Final = frozenset({401, 403})
_NOT_FOUND: Final = 404
_NO_GATEWAY: Final = (
    "there is no worker gateway at this address (404); the gateway has another port than the API: "
    "`gateway` in credentials.toml"
)
_RECEIVE_BYTES: Final = 256 * limits.KIB
_PROTOCOL_ERROR: Final = 1002
_log = structlog.get_logger()


class NotWelcome(TaskplaneError):
    """The gateway does not accept this worker."""


class _Lost(Unavailable):
    """The connection is gone."""


class GatewayConnection:
    """The worker's connection to whichever gateway takes it."""

    def __init__(
        self,
        *,
        urls: Sequence[str],
        client_id: str,
        client_secret: str,
        protocol: WorkerProtocol,
        spool: Spool,
        bell: Doorbell,
        log_bell: Doorbell,
        deliver: Callable[[ProtocolEvent], None],
        pulse: Callable[[], bool],
        now_ms: Callable[[], int],
        random: Callable[[], float],
    ) -> None:
        self._urls = urls
        token = base64.b64encode(f"{client_id}:{client_secret}".encode())
        self._headers = [(b"Authorization", b"Basic " + token)]
        self._protocol = protocol
        self._spool = spool
        self._bell = bell  # Notified when there is something to send.
        self._log_bell = log_bell  # Rung for log text, which may wait a little for more of it.
        self._deliver = deliver
        self._pulse = pulse
        self._now_ms = now_ms
        self._random = random
        self._to_send = Doorbell()
        self._to_confirm = Doorbell()
        self._sent = 0  # The last taking of log text that was sent to its end.
        self.url = urls[0]  # Of the gateway that welcomed us last.
        self._welcomed = False  # Ever.
        self._tries = 0  # Since the last welcome.
        self._turn = 0  # Whose of the URLs it is.
        self._trouble = ""
        self.idle = trio.Event()  # Draining, and no job is left.
        self.finished = trio.Event()  # And everything is acknowledged.
        self.closed = trio.Event()  # And the socket is closed.

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Stay connected until finished; raises NotWelcome if the first gateway refuses."""
        refusal: NotWelcome | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep)
            nursery.start_soon(self._gather_logs)
            task_status.started()
            try:
                await self._stay_connected()
            except NotWelcome as error:
                refusal = error
            nursery.cancel_scope.cancel()
        if refusal is not None:
            raise refusal
        self.closed.set()

    async def _stay_connected(self) -> None:
        while not self.finished.is_set():
            await self._connect(self._urls[self._turn])
            if self._tries:
                self._turn = (self._turn + 1) % len(self._urls)
            self._tries += 1
            with trio.move_on_after(pause_s(self._tries, self._random())):
                await self.finished.wait()

    async def _keep(self) -> None:
        """Put results on disk in groups, whether connected or not, and let them be sent then."""
        while True:
            await self._bell.wait()
            fresh = self._protocol.unkept()
            if fresh:
                self._spool.add(fresh)
            self._look_whether_done(sent=self._protocol.phase is not Phase.OPEN)
            self._to_send.ring()

    async def _gather_logs(self) -> None:
        """Let log text be sent soon; with anything else that is sent, it goes at once."""
        while True:
            await self._log_bell.wait()
            await trio.sleep(limits.LOG_FLUSH_S)
            self._to_send.ring()

    async def _connect(self, url: str) -> None:
        """Serve one connection to its end."""
        try:
            async with open_websocket_url(
                url,
                subprotocols=[wire.SUBPROTOCOL],
                extra_headers=self._headers,
                max_message_size=limits.FRAME_BYTES_MAX,
                connect_timeout=limits.SILENCE_S,
                disconnect_timeout=limits.ACK_S,
                receive_buffer_size=_RECEIVE_BYTES,
            ) as socket:
                # From now on every byte counts.
                stream = socket._stream = LiveStream(socket._stream)  # noqa: SLF001
                try:
                    await self._serve(socket, stream, url)
                finally:
                    if socket.closed:  # Then it believes that there is nothing left to close.
                        await trio.aclose_forcefully(socket._stream)  # noqa: SLF001 - As above.
        except ConnectionRejected as error:
            self._rejected(url, error.status_code)
        except HandshakeError as error:
            self._failed(url, str(error.__cause__ or error) or type(error).__name__)
        except (ConnectionClosed, DisconnectionTimeout, trio.TooSlowError):
            self._failed(url, "the gateway did not answer")
        except LocalProtocolError as error:  # A ping came after we began to close.
            self._failed(url, str(error))
        except (ProtocolError, _Lost) as error:
            self._failed(url, str(error))
        finally:
            self._protocol.disconnected()

    async def _serve(self, socket: WebSocketConnection, stream: LiveStream, url: str) -> None:
        await _send(socket, self._protocol.hello(self._now_ms()))
        ends: list[TaskplaneError] = []
        try:
            with trio.fail_after(limits.SILENCE_S):
                self._take_in(await socket.get_message(), url)
        except ProtocolError as error:
            ends.append(error)
        else:
            async with trio.open_nursery() as nursery:
                for task in (
                    partial(self._receive, socket, url),
                    partial(self._send, socket),
                    partial(self._confirm, socket),
                    partial(self._beat, stream),
                ):
                    nursery.start_soon(_until_it_ends, task, nursery, ends)
                await self.finished.wait()
                nursery.cancel_scope.cancel()
        if not ends:
            return
        if isinstance(ends[0], ProtocolError):
            await socket.aclose(_PROTOCOL_ERROR)
        raise ends[0]

    async def _receive(self, socket: WebSocketConnection, url: str) -> None:
        while True:
            self._take_in(await socket.get_message(), url)

    def _take_in(self, message: bytes | str, url: str) -> None:
        for event in self._protocol.receive(message, self._now_ms()):
            match event:
                case Forgotten():
                    self._spool.forget(event.leases)
                case Welcome():
                    self._tries, self._welcomed, self._trouble = 0, True, ""
                    self.url = url
                case Refused():
                    self._refused(url, event.reason)
            self._deliver(event)
        self._bell.ring()

    async def _send(self, socket: WebSocketConnection) -> None:
        while True:
            while (message := self._protocol.take()) is not None:
                await _send(socket, message)
                self._sent = self._protocol.logs.batches
                if self._protocol.logs.is_under_way or self._protocol.is_untried:
                    self._to_confirm.ring()
            self._look_whether_done(sent=True)
            await self._to_send.wait()

    async def _confirm(self, socket: WebSocketConnection) -> None:
        """Find out what has arrived: the gateway answers a ping when it has all before it."""
        while True:
            await self._to_confirm.wait()
            sent = self._sent  # Of a message that is being sent, only pieces are before the ping.
            await socket.ping()
            self._protocol.confirmed()
            self._protocol.logs.all_arrived(sent)
            self._look_whether_done(sent=True)

    async def _beat(self, stream: LiveStream) -> None:
        """Report to the gateway that the job loop lives, and notice whether the gateway does."""
        while True:
            await trio.sleep(limits.HEARTBEAT_S)
            if stream.silent_s() > limits.SILENCE_S:
                raise trio.TooSlowError
            if self._pulse():
                self._protocol.beat(self._now_ms())
                self._to_send.ring()
            else:
                _log.error("link.job_loop_stuck")
            self._to_confirm.ring()

    def _look_whether_done(self, *, sent: bool) -> None:
        if self._protocol.draining and self._protocol.idle:
            self.idle.set()
            if sent and self._protocol.finished:
                self.finished.set()

    def _rejected(self, url: str, status: int) -> None:
        if status in _NOT_ALLOWED:
            self._refused(url, f"the client id, its secret, or its role does not do ({status})")
        elif status == _NOT_FOUND:
            self._refused(url, _NO_GATEWAY)
        else:
            self._failed(url, f"the gateway answered with HTTP status {status}")

    def _refused(self, url: str, reason: str) -> None:
        if not self._welcomed:
            msg = f"{url} refuses this worker: {reason}"
            raise NotWelcome(msg)
        self._failed(url, f"refused: {reason}")

    def _failed(self, url: str, trouble: str) -> None:
        """Say it once, not at every try."""
        if trouble != self._trouble:
            self._trouble = trouble
            _log.warning("link.down", gateway=url, error=trouble)


async def _send(socket: WebSocketConnection, message: bytes) -> None:
    for piece in pieces_of(message):
        if socket.closed:
            raise ConnectionClosed(socket.closed)
        await socket._send(piece)  # noqa: SLF001 - The library sends whole messages only.


async def _until_it_ends(
    task: Callable[[], Awaitable[None]],
    nursery: trio.Nursery,
    ends: list[TaskplaneError],
) -> None:
    """Run one task of a connection; the first to fail says why, and ends the others."""
    try:
        await task()
    except ProtocolError as error:
        ends.append(error)
    except ConnectionClosed:
        ends.append(_Lost("the connection was lost"))
    except trio.TooSlowError:
        ends.append(_Lost("the gateway went silent"))
    nursery.cancel_scope.cancel()


def pause_s(tries: int, chance: float) -> float:
    """How long to wait after so many failed tries; `chance` (0 to 1) keeps workers apart."""
    longest = min(limits.RECONNECT_MAX_S, limits.RECONNECT_MIN_S * 2.0 ** min(tries - 1, 16))
    return longest * (0.5 + chance / 2)
