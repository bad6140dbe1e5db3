"""Owns one real Apache Kafka: fetches it with Maven, starts it on loopback, stops and kills it."""

import base64
import fcntl
import hashlib
import itertools
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final, Self

CACHE: Final = Path(__file__).resolve().parents[2] / ".kafka"
POM: Final = Path(__file__).resolve().parent / "kafka.xml"
JAVA_MIN: Final = 17
# Of a broker that lives for minutes: what the better compiler takes it would never earn back.
SHORT_LIVED: Final = ("-XX:TieredStopAtLevel=1",)
START_S: Final = 120.0
STOP_S: Final = 60.0

# Ports below those the system gives to clients: a client that keeps trying to reach a killed broker
# would in the end be given the broker's port as its own, and the broker could not come back to it.
_PORTS: Final = range(12_000, 32_000)
_STARTED: Final = "Kafka Server started"
_LOG_LINES: Final = 15
_CLASSES: Final = "classes.jsa"

# One copy of everything, and no waiting for company that never comes.
_SETTINGS: Final = MappingProxyType(
    {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
        # A killed broker may not come back before its session has run out.
        "broker.session.timeout.ms": "2000",
        "broker.heartbeat.interval.ms": "200",
        "auto.create.topics.enable": "false",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "1",
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "share.coordinator.state.topic.num.partitions": "1",
        "group.initial.rebalance.delay.ms": "0",
        # Tests of lost members may ask for sessions this short, in both group protocols.
        "group.min.session.timeout.ms": "1000",
        "group.consumer.min.session.timeout.ms": "1000",
        "group.consumer.min.heartbeat.interval.ms": "100",
    }
)

# Standard output carries only the server's own few lines, so that nobody has to drain the pipe.
_LOGGING: Final = """\
status = error
appender.log.type = Console
appender.log.name = log
appender.log.target = SYSTEM_ERR
appender.log.layout.type = PatternLayout
appender.log.layout.pattern = %d{ISO8601} %p %c{1}: %m%n
appender.news.type = Console
appender.news.name = news
appender.news.layout.type = PatternLayout
appender.news.layout.pattern = %m%n
rootLogger.level = warn
rootLogger.appenderRef.log.ref = log
logger.server.name = kafka.server.KafkaRaftServer
logger.server.level = info
logger.server.appenderRef.news.ref = news
"""


class NoBroker(Exception):
    """Kafka cannot be had or does not start here; the message says what is missing."""


def obtain(cache: Path = CACHE, *, path: str | None = None) -> Path:
    """The directory of Kafka's jars, fetched at first use. `path` is searched instead of PATH.

    An archive of the classes that a broker loads is made beside them: it starts in half the CPU.
    """
    java = _program("java", path)
    _require_java(java)
    jars = cache / hashlib.sha256(POM.read_bytes()).hexdigest()[:16]
    if jars.is_dir():
        return jars
    maven = _program("mvn", path)
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not jars.is_dir():
            _fetch(maven, jars)
            _archive_classes(jars)
    return jars


class Broker:
    """One node that is broker and controller; it keeps its port and its data over restarts."""

    def __init__(
        self,
        jars: Path,
        directory: Path,
        settings: Mapping[str, str] = MappingProxyType({}),
        java_options: Sequence[str] = (),
    ) -> None:
        self._java = ["-XX:+UseSerialGC", "-cp", f"{jars}/*"]
        if (jars / _CLASSES).exists():
            self._java.append(f"-XX:SharedArchiveFile={jars / _CLASSES}")
        self._java.append(f"-Dlog4j2.configurationFile={directory / 'log4j2.properties'}")
        self._java_options = java_options  # Of the server, not of the program that formats.
        self._directory = directory
        self._process: subprocess.Popen[str] | None = None
        port, controller = free_ports(2)
        self.address = f"127.0.0.1:{port}"
        listener = f"PLAINTEXT://{self.address}"
        self._settings = {
            **_SETTINGS,
            "listeners": f"{listener},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": listener,
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "log.dirs": str(directory / "data"),
            **settings,
        }

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process, for whoever measures it."""
        return self._running().pid

    def start(self) -> None:
        """Return when the broker takes requests. The first start formats the directory."""
        assert self._process is None, "the broker runs already"
        java = _program("java", None)
        if not (self._directory / "data" / "meta.properties").exists():
            self._format(java)
        options = ["-Xmx512m", *self._java, *self._java_options]
        with self._log().open("ab") as log:
            process = subprocess.Popen(
                [java, *options, "kafka.Kafka", str(self._properties())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                # Control-C at a terminal must not end the broker before those who use it.
                process_group=0,
            )
        assert process.stdout is not None
        limit = threading.Timer(START_S, process.kill)
        limit.start()
        try:
            started = any(_STARTED in line for line in process.stdout)
        except BaseException:
            process.kill()
            process.communicate()
            raise
        finally:
            limit.cancel()
        if not started:
            process.communicate()
            raise NoBroker(f"Kafka did not start (exit code {process.returncode}):\n{self._last()}")
        self._process = process

    def stop(self) -> None:
        """End it cleanly; nothing happens when it does not run."""
        if self._process is None:
            return
        self.resume()  # A paused process would not see the signal.
        self._process.terminate()
        try:
            self._process.communicate(timeout=STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise NoBroker(f"Kafka did not stop within {STOP_S:.0f} s:\n{self._last()}") from None
        self._process = None

    def kill(self) -> None:
        """End it as a power cut would, as far as other processes can tell."""
        process = self._running()
        process.kill()
        process.communicate()
        self._process = None

    def pause(self) -> None:
        """Let it hang: connections stay open, nobody answers."""
        self._running().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after a pause."""
        self._running().send_signal(signal.SIGCONT)

    def _running(self) -> subprocess.Popen[str]:
        assert self._process is not None, "the broker does not run"
        return self._process

    def _format(self, java: str) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        (self._directory / "log4j2.properties").write_text(_LOGGING, encoding="utf-8")
        lines = [f"{name}={value}\n" for name, value in self._settings.items()]
        self._properties().write_text("".join(lines), encoding="utf-8")
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        command = [java, *SHORT_LIVED, *self._java, "kafka.tools.StorageTool"]
        command += ["format", f"--cluster-id={cluster}", "--config", str(self._properties())]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        self._log().write_text(result.stdout + result.stderr, encoding="utf-8")
        if result.returncode:
            raise NoBroker(f"Kafka's storage could not be formatted:\n{self._last()}")

    def _properties(self) -> Path:
        return self._directory / "server.properties"

    def _log(self) -> Path:
        return self._directory / "broker.log"

    def _last(self) -> str:
        lines = self._log().read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-_LOG_LINES:])


def _program(name: str, path: str | None) -> str:
    found = shutil.which(name, path=path)
    if found is None:
        raise NoBroker(f"a real Apache Kafka needs {name}, which is not on the PATH")
    return found


def _require_java(java: str) -> None:
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(\d+)', said)
    if version is None or int(version[1]) < JAVA_MIN:
        raise NoBroker(f"a real Apache Kafka needs Java {JAVA_MIN} or newer; {java} says: {said}")


def _fetch(maven: str, jars: Path) -> None:
    """Fetch into a temporary folder and rename it, so that an incomplete fetch is never used."""
    with tempfile.TemporaryDirectory(dir=jars.parent) as fetched:
        command = [maven, "-q", "-B", "-Dstyle.color=never", "-f", str(POM)]
        command += ["dependency:copy-dependencies", "-DincludeScope=runtime"]
        command += [f"-DoutputDirectory={fetched}/jars"]
        result = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if result.returncode:
            reason = next((line for line in result.stdout.splitlines() if "ERROR" in line), "")
            raise NoBroker(f"Maven could not fetch Apache Kafka: {reason or result.stderr}")
        os.rename(f"{fetched}/jars", jars)


def _archive_classes(jars: Path) -> None:
    """Write what one start loads and checks, for the JVM to map at all later ones."""
    unfinished = jars / f"{_CLASSES}.part"
    options = [*SHORT_LIVED, f"-XX:ArchiveClassesAtExit={unfinished}"]
    with tempfile.TemporaryDirectory() as directory:
        broker = Broker(jars, Path(directory), java_options=options)
        broker.start()
        broker.stop()
    os.rename(unfinished, jars / _CLASSES)


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody has, and that the system gives to no client."""
    free = filter(_is_free, random.sample(_PORTS, len(_PORTS)))
    return list(itertools.islice(free, count))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
