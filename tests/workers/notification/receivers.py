"""Owns what receives notifications in tests: a mail server, and a web server that is any host.

Slack's and Microsoft's addresses are fixed in Apprise's plug-ins. So the web server is also the
proxy for them, and has a certificate for each name, of an authority that tests trust.
"""

import json
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from http.server import BaseHTTPRequestHandler
from threading import Event
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from bench.servers.databases import free_port


@dataclass
class Received:
    """A request that arrived."""

    host: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401 - Whatever a service is sent.
        return json.loads(self.body)


@dataclass
class Web:
    """A web server. It answers `status`, once it `may_answer`."""

    port: int = 0
    status: int = 200
    requests: list[Received] = field(default_factory=list)
    arrived: Event = field(default_factory=Event)
    may_answer: Event = field(default_factory=Event)

    @property
    def url(self) -> str:
        return f"json://127.0.0.1:{self.port}/hook"


def handler(web: Web, tls: Callable[[str], ssl.SSLContext]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_CONNECT(self) -> None:
            self.send_response(200)
            self.end_headers()
            context = tls(self.path.partition(":")[0])
            self.connection = context.wrap_socket(self.connection, server_side=True)
            self.rfile.close()
            self.rfile = self.connection.makefile("rb")
            self.wfile = self.connection.makefile("wb", 0)
            self.close_connection = False  # CONNECT is of HTTP/1.0; what it is for follows.

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            host = self.headers.get("host", "")
            web.requests.append(Received(host, self.path, dict(self.headers), body))
            web.arrived.set()
            web.may_answer.wait(30)
            self.send_response(web.status)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def finish(self) -> None:
            super().finish()
            self.connection.close()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler


class Mail:
    """A mail server for ann, whose password is s3cret; it keeps what arrives."""

    def __init__(self) -> None:
        self.messages: list[EmailMessage] = []
        self.port = free_port()

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - The name aiosmtpd calls.
        assert isinstance(envelope.content, bytes)
        message = BytesParser(policy=default).parsebytes(envelope.content)
        assert isinstance(message, EmailMessage)
        self.messages.append(message)
        return "250 OK"

    def authenticate(self, *arguments: object) -> AuthResult:
        login = arguments[-1]
        assert isinstance(login, LoginPassword)
        return AuthResult(success=login == LoginPassword(b"ann", b"s3cret"), handled=False)
