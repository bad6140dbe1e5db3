"""Owns the servers that receive notifications in tests, and the kind with targets."""

import ssl
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import trustme
from aiosmtpd.controller import Controller

from control.model.worker.settings import SecretUrl, WorkerSettings
from tests.workers.kind_runs import Runs
from tests.workers.notification.receivers import Mail, Web, handler
from workers.kinds.notification import Notification


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def web(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    """A web server on loopback, which is every https address besides."""

    def tls(host: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(host).configure_cert(context)
        return context

    web = Web()
    web.may_answer.set()
    with ThreadingHTTPServer(("127.0.0.1", 0), handler(web, tls)) as server:
        web.port = server.server_port
        authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "authority.pem"))
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{web.port}")
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield web
        web.may_answer.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def mail() -> Iterator[Mail]:
    mail = Mail()
    controller = Controller(
        mail,
        hostname="127.0.0.1",
        port=mail.port,
        authenticator=mail.authenticate,
        auth_required=True,
        auth_require_tls=False,
    )
    controller.start()
    yield mail
    controller.stop()


@pytest.fixture
def notify(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Runs]:
    """Runs the kind with these targets: names, and their URLs or addresses."""

    def made(**targets: str | SecretUrl) -> Runs:
        kind = Notification()
        addresses = {
            name: each if isinstance(each, SecretUrl) else SecretUrl(each)
            for name, each in targets.items()
        }
        kind.configure(WorkerSettings(targets=addresses))
        return Runs(kind, tmp_path_factory.mktemp("runs"))  # type: ignore[arg-type]

    return made
