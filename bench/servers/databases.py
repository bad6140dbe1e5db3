"""Owns real database servers for tests: Debian's PostgreSQL and MariaDB, each on a loopback port.

What is not installed is installed with apt-get, which needs root. A server runs as an unprivileged
user, in a directory of its own that is removed with it.
"""

import fcntl
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final, Self

START_S: Final = 120.0
STOP_S: Final = 60.0
INSTALL_S: Final = 600.0
USER: Final = "ann"
DATABASE: Final = "sales"
_PORTS: Final = range(12_000, 32_000)  # Below those that the system gives to clients.
_LOG_LINES: Final = 15
_LOCK: Final = Path(tempfile.gettempdir()) / "taskplane-apt.lock"


class NoDatabase(Exception):
    """A server cannot be had or does not start here; the message says why."""


class DatabaseServer:
    """One server with an empty database `sales`, whose owner is `ann`."""

    ready: ClassVar[str]  # What it logs when it takes connections.
    ending: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(self) -> None:
        self.password = secrets.token_hex(12)
        self.port = free_port()
        self.directory = Path(tempfile.mkdtemp(prefix="taskplane-"))
        self._process: subprocess.Popen[str] | None = None
        self._drain = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        try:
            if os.geteuid() == 0:
                shutil.chown(self.directory, "nobody", "nogroup")
            self.prepare()
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def prepare(self) -> None:
        """Make its files; raises NoDatabase."""
        raise NotImplementedError

    def command(self) -> list[str]:
        """What runs it in the foreground."""
        raise NotImplementedError

    def stop(self) -> None:
        """End it, and remove its files."""
        process = self._process
        if process is not None:
            process.send_signal(self.ending)
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if self._drain.is_alive():
                self._drain.join()
            assert process.stdout is not None
            process.stdout.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def call(self, command: Sequence[str], text: str = "") -> None:
        """Run a program of the server's as its user; raises NoDatabase."""
        result = subprocess.run(
            command, input=text, capture_output=True, text=True, check=False, **self._its_user()
        )
        if result.returncode:
            raise NoDatabase(f"{command[0]} failed: {result.stdout}{result.stderr}")

    def _start(self) -> None:
        process = self._process = subprocess.Popen(
            self.command(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            process_group=0,  # Control-C at a terminal ends the tests first.
            **self._its_user(),
        )
        assert process.stdout is not None
        lines: list[str] = []
        limit = threading.Timer(START_S, process.kill)
        limit.start()
        try:
            for line in process.stdout:
                lines.append(line)
                if self.ready in line:
                    break
            else:
                raise NoDatabase("it did not start:\n" + "".join(lines[-_LOG_LINES:]))
        finally:
            limit.cancel()
        self._drain.start()

    def _read(self) -> None:
        """A full pipe would stop the server."""
        assert self._process is not None
        assert self._process.stdout is not None
        for _ in self._process.stdout:
            pass

    def _its_user(self) -> dict[str, Any]:
        if os.geteuid():
            return {"cwd": self.directory}
        return {"cwd": self.directory, "user": "nobody", "group": "nogroup", "extra_groups": []}


class PostgreSQLServer(DatabaseServer):
    """PostgreSQL, where `ann` may do everything, and passwords are checked."""

    ready: ClassVar[str] = "database system is ready to accept connections"
    ending: ClassVar[signal.Signals] = signal.SIGINT  # It does not wait for its clients then.

    def prepare(self) -> None:
        """Make a cluster with its database."""
        self._programs = _postgresql_programs()
        secret = self.directory / "password"
        secret.write_text(self.password)
        data, user = str(self.directory / "data"), f"--username={USER}"
        locale = ("--encoding=UTF8", "--locale=C.UTF-8")
        self.call(
            [
                *(str(self._programs / "initdb"), "-D", data, user, "--no-sync", *locale),
                *("--auth=scram-sha-256", f"--pwfile={secret}"),
            ]
        )
        single = [str(self._programs / "postgres"), "--single", "-D", data, "postgres"]
        self.call(single, f"CREATE DATABASE {DATABASE}\n")

    def command(self) -> list[str]:
        """On TCP only, and without care for power cuts."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
            "fsync": "off",
            "shared_buffers": "16MB",
        }
        flags = [flag for name, value in settings.items() for flag in ("-c", f"{name}={value}")]
        return [str(self._programs / "postgres"), "-D", str(self.directory / "data"), *flags]

    @property
    def url(self) -> str:
        """As a worker's config has it; the password is elsewhere."""
        return f"postgresql+psycopg://{USER}@127.0.0.1:{self.port}/{DATABASE}"


class MariaDBServer(DatabaseServer):
    """MariaDB, which speaks MySQL's protocol."""

    ready: ClassVar[str] = "ready for connections"

    def prepare(self) -> None:
        """Make its system tables, and the database."""
        _installed("mariadbd", "mariadb-server")
        data = f"--datadir={self.directory / 'data'}"
        plain = ("--no-defaults", "--auth-root-authentication-method=normal")
        self.call(["mariadb-install-db", *plain, "--skip-test-db", data])
        first = self.directory / "first.sql"
        first.write_text(
            f"CREATE DATABASE {DATABASE};\n"  # It wants one statement a line.
            f"CREATE USER {USER}@'%' IDENTIFIED BY '{self.password}';\n"
            f"GRANT ALL ON *.* TO {USER}@'%';\n"
        )

    def command(self) -> list[str]:
        """On TCP only."""
        return [
            *(_program("mariadbd") or "mariadbd", "--no-defaults"),
            *(
                f"--datadir={self.directory / 'data'}",
                f"--init-file={self.directory / 'first.sql'}",
            ),
            *("--bind-address=127.0.0.1", f"--port={self.port}", "--skip-name-resolve"),
            *(f"--socket={self.directory / 'socket'}", f"--pid-file={self.directory / 'pid'}"),
        ]

    @property
    def url(self) -> str:
        """As a worker's config has it; the password is elsewhere."""
        return f"mysql+pymysql://{USER}@127.0.0.1:{self.port}/{DATABASE}"


def _postgresql_programs() -> Path:
    """The directory of the newest PostgreSQL's programs: Debian does not put them on the PATH."""
    for _ in range(2):
        programs = sorted(
            Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3])
        )
        if programs:
            return programs[-1].parent
        _install("postgresql")
    raise NoDatabase("Debian's postgresql is installed, but has no initdb")


def _installed(program: str, package: str) -> None:
    if _program(program) is None:
        _install(package)


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def _install(package: str) -> None:
    """Install a package of Debian's, one process at a time; raises NoDatabase."""
    if os.geteuid() or shutil.which("apt-get") is None:
        raise NoDatabase(f"{package} is not installed; install it with your system's packages")
    quiet: Mapping[str, str] = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with _LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for command in (["update"], ["install", "-y", "--no-install-recommends", package]):
            result = subprocess.run(
                ["apt-get", "-q", *command],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=INSTALL_S,
                env=quiet,
            )
            if result.returncode:
                raise NoDatabase(f"apt-get {command[0]} failed: {result.stderr}")


def free_port() -> int:
    """A port of loopback on which nothing listens."""
    return next(filter(_is_free, random.sample(_PORTS, len(_PORTS))))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
