"""Checks the control plane's settings: who wins, and what is said of one that is wrong."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from control.model.config import Config, load_config
from control.model.errors import ConfigError
from control.model.names import Service
from control.model.worker.isolation import IsolationMode


def load(
    tmp_path: Path,
    file: str = "",
    environ: Mapping[str, str] | None = None,
    **flags: str | float | bool | None,
) -> Config:
    path = tmp_path / "taskplane.toml"
    path.write_text(file)
    return load_config(flags, {"TP_DATA_DIR": "/data", **(environ or {})}, path)


def test_a_flag_wins_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    file, environ = "partitions = 3", {"TP_PARTITIONS": "4"}
    assert load(tmp_path).partitions == 10
    assert load(tmp_path, file).partitions == 3
    assert load(tmp_path, file, environ).partitions == 4
    assert load(tmp_path, file, environ, partitions=5).partitions == 5


def test_the_size_of_the_queue_has_a_second_name(tmp_path: Path) -> None:
    assert load(tmp_path, "queue_size = 7", {"QUEUE_SIZE": "8"}).queue_size == 8
    both = {"QUEUE_SIZE": "8", "TP_QUEUE_SIZE": "9"}
    assert load(tmp_path, environ=both).queue_size == 9


def test_settings_of_the_local_worker_have_a_table(tmp_path: Path) -> None:
    config = load(tmp_path, '[worker]\nuser = "ann"\nisolation = "required"')
    assert (config.worker_user, config.worker_isolation) == ("ann", IsolationMode.REQUIRED)
    assert load(tmp_path, '[worker]\nuser = "ann"', {"TP_WORKER_USER": "ben"}).worker_user == "ben"


def test_a_file_with_settings_of_kafka_may_hold_a_password(tmp_path: Path) -> None:
    assert load(tmp_path, '[kafka]\n"sasl.password" = "x"').secret_file is not None
    assert load(tmp_path, "partitions = 3").secret_file is None


def test_services_are_a_list_or_a_text(tmp_path: Path) -> None:
    wanted = (Service.API, Service.TRIGGER)
    assert load(tmp_path, 'services = ["api", "trigger"]').services == wanted
    assert load(tmp_path, services="api, trigger").services == wanted
    assert load(tmp_path).services == tuple(Service)


@pytest.mark.parametrize(
    ("file", "environ", "flags", "words"),
    [
        ("", {}, {"services": "api,apple"}, ["--services", "apple", "api, scheduler"]),
        ("", {"TP_LOG_LEVEL": "loud"}, {}, ["TP_LOG_LEVEL", "loud", "debug, error"]),
        ("", {"TP_SLOW_THRESHOLD": "long"}, {}, ["long", "a number", "auto"]),
        ("", {"QUEUE_SIZE": "many"}, {}, ["QUEUE_SIZE", "`int`"]),
        ("lanes = 3", {}, {}, ["unknown setting 'lanes'", "partitions"]),
        ("partitions = ", {}, {}, ["cannot read", "taskplane.toml"]),
        ('worker = "x"', {}, {}, ["worker is a table"]),
        ("[worker]\nsize = 1", {}, {}, ["unknown setting 'worker_size'"]),
        ("", {"TP_WORKER_ISOLATION": "much"}, {}, ["TP_WORKER_ISOLATION", "much", "required"]),
        ('secret_file = "x"', {}, {}, ["unknown setting 'secret_file'"]),
        ("", {}, {"services": " "}, ["name at least one", "dispatcher"]),
        ("", {}, {"listen": "8700"}, ["'8700' is not an address", "127.0.0.1:8700"]),
        ("", {}, {"listen": "host:65536"}, ["is not an address"]),
        ("", {}, {"bus": "kafka:host"}, ["--bus kafka:host", "embedded", "kafka://host:port"]),
        ("", {}, {"bus": "kafka://a:1,b"}, ["--bus kafka://a:1,b", "'b' is not an address"]),
        ("", {}, {"topic_prefix": "a b"}, ["--topic-prefix", "A-Za-z0-9"]),
    ],
)
def test_what_is_wrong_is_named_with_what_would_be_right(
    tmp_path: Path,
    file: str,
    environ: dict[str, str],
    flags: dict[str, str],
    words: list[str],
) -> None:
    with pytest.raises(ConfigError) as refused:
        load(tmp_path, file, environ, **flags)
    assert [word for word in words if word not in str(refused.value)] == []


def test_an_ipv6_address_is_written_with_brackets(tmp_path: Path) -> None:
    address = load(tmp_path, listen="[::1]:0").listen_address
    assert (address.host, address.port, str(address)) == ("::1", 0, "[::1]:0")
