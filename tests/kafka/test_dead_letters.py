"""Decides that garbage on a topic is set aside once, said once, listed, and stops nothing."""

import json
import shutil
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from confluent_kafka import Producer

from bench.servers.broker import Broker
from bench.servers.fleet import ServiceProcess, client_of, control_plane
from bench.servers.topics import SystemTopics
from control.model.names import Topic

pytestmark = [pytest.mark.kafka, pytest.mark.e2e, pytest.mark.slow]

PATIENCE_S = 240.0  # Only ends what would wait for ever.
PIPELINE = {
    "name": "one",
    "stages": ["run"],
    "jobs": [{"name": "job", "stage": "run", "kind": "Sleep", "params": {"seconds": 0}}],
}
GARBAGE = [
    b"",
    b"not JSON",
    b"\xff\x00",
    b'{"type":"no_such_type","schema":1}',
    b'{"type":"placed","schema":1}',  # Nothing else that it needs.
    b"[" * 100_000,
    b'{"type":"drain_worker","schema":2,"worker":"w"}',
    b'{"type":"deadline","schema":1,"run_id":99999999999999999999,"at_ms":0}',
    b'{"type":"deadline","schema":1,"run_id":-1,"at_ms":0}',
    b'{"type":"dead_letter","schema":1}',
]
# Well-formed, on the right topic, and of a job that is not of its run.
STRAY = {
    "type": "finished",
    "run_id": 1,
    "job_id": 1_000,
    "attempt": 1,
    "pipeline": "one",
    "name": "job",
    "stage": "run",
    "client": "admin",
    "kind": "Sleep",
    "version": "1.0.0",
    "worker": "w",
    "partition": 0,
    "speed": "fast",
    "outcome": "done",
    "final": True,
    "expected": 1,
    "ready_ms": 1,
    "started_ms": 1,
    "finished_ms": 1,
    "wait_seconds": 0,
    "duration_seconds": 0,
}
READ = [
    Topic.TASK_RUNS,
    Topic.TASK_RUNS_LOAD_BALANCED,
    Topic.TASK_RUN_EVENTS,
    Topic.TASK_RUN_RESULTS,
    Topic.TASK_COMMANDS,
    Topic.TASK_NEWS,
    Topic.TASK_RUN_LOGS,
]


class Letter(msgspec.Struct, frozen=True):
    """One as it is listed."""

    id: int
    topic: str
    value: str
    error: str
    bytes: int | None


class _Letters(msgspec.Struct):
    items: list[Letter]


class Whole(NamedTuple):
    """All services in one process, with a worker."""

    broker: Broker
    prefix: str
    directory: Path
    plane: ServiceProcess


def throw(whole: Whole) -> int:
    """All garbage on all topics; gives how much."""
    producer = Producer({"bootstrap.servers": whole.broker.address})
    for topic in READ:
        for value in GARBAGE:
            producer.produce(f"{whole.prefix}{topic}", value, key=b"some key")
    results = f"{whole.prefix}{Topic.TASK_RUN_RESULTS}"
    producer.produce(results, json.dumps(STRAY).encode(), key=b"1")
    assert producer.flush(PATIENCE_S) == 0
    return len(READ) * len(GARBAGE) + 1


def run_to_its_end(whole: Whole) -> None:
    """A job gets through."""
    with client_of(whole.directory) as client:
        answer = client.post("/v1/runs", json={"pipeline": PIPELINE})
        answer.raise_for_status()
        deadline = time.monotonic() + PATIENCE_S
        while client.get(f"/v1/runs/{answer.json()['id']}").json()["state"] != "DONE":
            assert time.monotonic() < deadline


def dead_letters(whole: Whole, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What `tpctl bus dead-letters …` does."""
    command = [str(Path(sys.executable).parent / "tpctl"), "bus", "dead-letters", *arguments]
    command += ["--bus", f"kafka://{whole.broker.address}", "--topic-prefix", whole.prefix]
    command += ["--data-dir", str(whole.directory)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )


def listed(whole: Whole) -> list[Letter]:
    """Those that are left."""
    found = dead_letters(whole, "list", "-o", "json")
    assert found.returncode == 0, found.stderr
    return msgspec.json.decode(found.stdout, type=_Letters).items


def doctor(directory: Path) -> str:
    """What `tpctl doctor` says."""
    command = [str(Path(sys.executable).parent / "tpctl"), "doctor", "--data-dir", str(directory)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def read_with_kcat(broker: Broker, topic: str) -> list[bytes]:
    """The values of all records, as Debian's kcat reads them."""
    command = ["kcat", "-C", "-b", broker.address, "-t", topic, "-o", "beginning", "-e", "-q"]
    command += ["-X", "isolation.level=read_committed"]
    found = subprocess.run(command, capture_output=True, check=True, timeout=PATIENCE_S)
    return found.stdout.splitlines()


@pytest.fixture(scope="module")
def whole(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    """One control plane for all tests here."""
    directory = tmp_path_factory.mktemp("whole") / "plane"
    prefix = f"t{uuid.uuid4().hex[:12]}."
    flags = ("--listen", "127.0.0.1:0", "--gateway", "127.0.0.1:0", "--workers", "2")
    plane = control_plane(directory, broker.address, prefix, *flags)
    plane.start()
    yield Whole(broker, prefix, directory, plane)
    plane.stop()


@pytest.mark.skipif(shutil.which("kcat") is None, reason="kcat is not installed")
def test_kcat_reads_all_topics_as_plain_json(whole: Whole) -> None:
    run_to_its_end(whole)
    for topic in READ:
        values = read_with_kcat(whole.broker, f"{whole.prefix}{topic}")
        assert values or topic in {Topic.TASK_RUN_LOGS, Topic.TASK_RUN_EVENTS}
        assert all(json.loads(value)["schema"] == 1 for value in values)


def test_garbage_is_set_aside_once_and_stops_nothing(whole: Whole) -> None:
    topics = SystemTopics(whole.broker.address, whole.prefix)
    run_to_its_end(whole)
    thrown = throw(whole)
    run_to_its_end(whole)
    deadline = time.monotonic() + PATIENCE_S
    while len(topics.records(Topic.TASK_DEAD_LETTERS)) < thrown:
        assert time.monotonic() < deadline
    run_to_its_end(whole)

    found = topics.records(Topic.TASK_DEAD_LETTERS)
    letters = [json.loads(letter.value() or b"") for letter in found]
    places = Counter((each["topic"], each["partition"], each["offset"]) for each in letters)
    assert len(letters) == len(places) == thrown
    each_topic = dict.fromkeys(READ, len(GARBAGE))
    each_topic[Topic.TASK_RUN_RESULTS] += 1
    assert Counter(topic for topic, _, _ in places) == each_topic
    assert {each["key"] for each in letters} == {"some key", "1"}
    assert whole.plane.said().count("bus.dead_letter") == thrown
    told = f"{thrown} set aside (tpctl bus dead-letters list); the newest 20: "
    assert told in doctor(whole.directory)

    whole.plane.stop()
    whole.plane.start()  # What was set aside does not come again.
    run_to_its_end(whole)
    assert "bus.dead_letter" not in whole.plane.said()
    assert len(topics.records(Topic.TASK_DEAD_LETTERS)) == thrown


def test_what_was_set_aside_is_shown_replayed_and_dropped(whole: Whole) -> None:
    topics = SystemTopics(whole.broker.address, whole.prefix)
    run_to_its_end(whole)  # There is a run for the stray result.
    before = {each.id for each in listed(whole)}
    producer = Producer({"bootstrap.servers": whole.broker.address})
    long = b'{"type":"drain_worker","schema":2,"worker":"%s"}' % (b"w" * 100_000)
    for topic, value in (
        (Topic.TASK_RUN_RESULTS, json.dumps(STRAY).encode()),
        (Topic.TASK_COMMANDS, long),
    ):
        producer.produce(f"{whole.prefix}{topic}", value, key=b"1")
    assert producer.flush(PATIENCE_S) == 0
    deadline = time.monotonic() + PATIENCE_S
    while len(found := [each for each in listed(whole) if each.id not in before]) < 2:
        assert time.monotonic() < deadline
    by_topic = {each.topic: each for each in found}
    stray, cut = by_topic[Topic.TASK_RUN_RESULTS], by_topic[Topic.TASK_COMMANDS]
    assert stray.error == "job 1000 is not of run 1"
    assert cut.bytes == len(long)
    assert stray.value in dead_letters(whole, "show", str(stray.id)).stdout

    # Of the long one the record itself is still there; and none is replayed with it.
    refused = dead_letters(whole, "replay", str(stray.id), str(cut.id))
    assert refused.returncode == 4
    assert f"dead letter {cut.id} cannot be used by this version either" in refused.stderr
    assert "its schema is 2" in refused.stderr
    results = len(topics.records(Topic.TASK_RUN_RESULTS))
    assert dead_letters(whole, "replay", str(stray.id)).returncode == 0
    assert len(topics.records(Topic.TASK_RUN_RESULTS)) == results + 1
    while not any(each.value == stray.value and each.id > stray.id for each in listed(whole)):
        assert time.monotonic() < deadline  # It is still of no run here.
    assert stray.id not in {each.id for each in listed(whole)}
    gone = dead_letters(whole, "replay", str(stray.id))
    assert gone.returncode == 4
    assert f"there is no dead letter {stray.id}" in gone.stderr

    assert dead_letters(whole, "drop", "--all").returncode == 2  # Nobody could be asked.
    assert dead_letters(whole, "drop", str(cut.id), "--yes").returncode == 0
    left = listed(whole)
    assert left
    assert cut.id not in {each.id for each in left}
    assert dead_letters(whole, "drop", "--all", "--yes").returncode == 0
    assert listed(whole) == []
    assert "every record could be used" in doctor(whole.directory)
