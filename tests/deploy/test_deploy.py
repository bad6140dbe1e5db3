"""Decides that what is shipped for containers and systemd says what the commands understand."""

import os
import re
import shlex
import stat
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
import pytest
import typer
import typer.main
import yaml
from typer.core import TyperGroup

from bench.servers.system import start_control
from control.cli.main import app as tpctl
from control.model.config import Config, load_config
from control.model.names import Service
from tests.e2e.blocks import blocks
from workers.cli import app as tpworker
from workers.config import Flags
from workers.config import load_config as load_worker_config

ROOT: Final = Path(__file__).parent.parent.parent
UNITS: Final = sorted((ROOT / "deploy" / "systemd").glob("*.service"))
SCRIPT: Final = ROOT / "deploy" / "worker-credentials.sh"
STATEFUL: Final = {Service.API, Service.SCHEDULER, Service.TRIGGER, Service.STATISTICS}


class Build(msgspec.Struct):
    """What we read of a service in compose.yaml."""

    image: str
    command: list[str] = []
    environment: dict[str, str] = {}
    volumes: list[str] = []


class Compose(msgspec.Struct):
    """What we read of compose.yaml."""

    services: dict[str, Build]
    volumes: dict[str, None]


def compose() -> Compose:
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    return msgspec.convert(yaml.safe_load(text), Compose)


def parsed(words: Sequence[str]) -> dict[str, object]:
    """The parameters of a command line, as Typer reads it; raises what a user would see."""
    command = typer.main.get_command({"tpctl": tpctl, "tpworker": tpworker}[words[0]])
    rest = list(words[1:])
    if isinstance(command, TyperGroup):
        _, found, rest = command.resolve_command(typer.Context(command), rest)
        assert found is not None
        command = found
    return dict(command.make_context(words[0], rest).params)


def control_settings(words: Sequence[str], environ: Mapping[str, str]) -> Config:
    """What `tpctl up` would run with; its config file is the one in deploy/systemd."""
    params = parsed(words)
    file = params.pop("config")
    assert str(file) in {"None", "/etc/taskplane/taskplane.toml"}
    flags = {name: str(value) for name, value in params.items() if value is not None}
    shipped = ROOT / "deploy" / "systemd" / "taskplane.toml"
    return load_config(flags, environ, shipped if file else None)


def unit_settings(unit: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in unit.read_text(encoding="utf-8").splitlines():
        name, separator, value = line.partition("=")
        if separator and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def unit_environment(unit: Path) -> dict[str, str]:
    """Its own variables, for the instance `8701`."""
    assigned = (each.partition("=") for each in unit_settings(unit).get("Environment", []))
    return {name: value.replace("%i", "8701") for name, _, value in assigned}


def unit_command(unit: Path) -> list[str]:
    (line,) = unit_settings(unit)["ExecStart"]
    file, *rest = shlex.split(line)
    assert Path(file).parent == Path("/usr/local/bin")
    return [Path(file).name, *rest]


def stateful_counts(settings: Sequence[Config]) -> Iterator[int]:
    for service in STATEFUL:
        yield sum(service in each.services for each in settings)


def test_the_services_of_compose_make_one_control_plane() -> None:
    ours = {name: each for name, each in compose().services.items() if each.image == "taskplane"}
    planes = {
        name: control_settings(each.command, each.environment)
        for name, each in ours.items()
        if each.command[0] == "tpctl"
    }
    assert {each.bus for each in planes.values()} == {
        "kafka://kafka-1:9092,kafka-2:9092,kafka-3:9092"
    }
    assert len({each.partitions for each in planes.values()}) == 1
    assert set(stateful_counts(list(planes.values()))) == {1}
    assert sum(Service.BALANCER in each.services for each in planes.values()) == 2
    dispatchers = [name for name, each in planes.items() if Service.DISPATCHER in each.services]
    assert len(dispatchers) == 2
    for each in ours.values():
        if each.command[0] == "tpworker":
            urls = parsed(each.command)["url"]
            assert isinstance(urls, Sequence)
            assert sorted(urls) == [f"ws://{name}:8701" for name in dispatchers]


def test_no_two_processes_of_compose_write_to_one_volume() -> None:
    found = compose()
    mounted = [
        volume.split(":")[0]
        for each in found.services.values()
        for volume in each.volumes
        if not volume.endswith(":ro")
    ]
    assert sorted(mounted) == sorted(found.volumes)


def test_the_brokers_of_compose_are_those_that_are_tested() -> None:
    project = (ROOT / "bench" / "servers" / "kafka.xml").read_text(encoding="utf-8")
    version = re.search(r"<artifactId>kafka_[\d.]+</artifactId>\s*<version>(.+)</version>", project)
    assert version is not None
    images = {
        name: each.image for name, each in compose().services.items() if "kafka" in each.image
    }
    assert images == {f"kafka-{number}": f"apache/kafka:{version[1]}" for number in (1, 2, 3)}


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_units_start_what_there_is(unit: Path) -> None:
    words, environ = unit_command(unit), unit_environment(unit)
    if words[0] == "tpctl":
        settings = control_settings(words, environ)
        # Beside %S is where its state directory is made.
        (state,) = unit_settings(unit)["StateDirectory"]
        assert settings.data_dir == f"%S/{state}".replace("%i", "8701")
        return
    shipped = (ROOT / "deploy" / "systemd" / "tpworker.env").read_text(encoding="utf-8")
    variables = dict(line.lstrip("#").split("=", 1) for line in shipped.splitlines() if "=" in line)
    flags = shlex.split(variables.pop("TPWORKER_FLAGS"))
    filled = [each.replace("%i", "1").replace("%H", "host") for each in words if each[0] != "$"]
    assert filled != words
    found = msgspec.convert(parsed([*filled, *flags]), dict[str, object])
    assert found["name"] == "host-1"
    secrets = dict.fromkeys(variables, "x")
    urls = msgspec.convert(found["url"], list[str])
    assert load_worker_config(Flags(urls=urls), {**environ, **secrets}, "host").client_secret == "x"


def test_no_secret_is_shipped() -> None:
    for file in (ROOT / "deploy" / "systemd").glob("*.env"):
        for line in file.read_text(encoding="utf-8").splitlines():
            assert not re.match(r"[^#]*(SECRET|PASSWORD)", line), file.name


def test_the_settings_of_the_page_are_those_that_are_shipped() -> None:
    (block,) = [each for each in blocks(ROOT / "docs" / "scaling.md") if each.language == "toml"]
    shipped = ROOT / "deploy" / "systemd" / "taskplane.toml"
    assert tomllib.loads(block.text) == tomllib.loads(shipped.read_text(encoding="utf-8"))
    secret = {"TP_KAFKA_SASL_PASSWORD": "hush"}
    settings = load_config({"data_dir": "d"}, secret, shipped)
    assert settings.topic_prefix == "prod."
    assert settings.kafka["security.protocol"] == "SASL_SSL"
    assert settings.kafka["sasl.password"] == "hush"


def test_the_image_has_what_the_package_needs() -> None:
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    copied = {
        name
        for line in lines
        if line.startswith("COPY ") and "--from" not in line
        for name in line.split()[1:-1]
        if not name.startswith("--")
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert {*packages, "pyproject.toml", "constraints.txt", "README.md", "LICENSE"} <= copied
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert {line[1:] for line in ignored if line.startswith("!")} == copied
    assert ignored.index("*") < min(ignored.index(f"!{name}") for name in copied)


@pytest.mark.e2e
def test_a_worker_gets_credentials_once(tmp_path: Path) -> None:
    data_dir, file = tmp_path / "data", tmp_path / "credentials.toml"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environ = {**os.environ, "PATH": path, "TP_DATA_DIR": str(data_dir)}

    def make() -> dict[str, object]:
        subprocess.run(
            [SCRIPT, "worker", file], env=environ, check=True, timeout=60, capture_output=True
        )
        return tomllib.loads(file.read_text(encoding="utf-8"))

    with start_control(data_dir):
        first = make()
        assert first["client_id"] == "worker"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert make() == first
        file.unlink()
        assert make()["client_secret"] != first["client_secret"]
    file.unlink()
    unreachable = subprocess.run(
        [SCRIPT, "worker", file], env=environ, check=False, timeout=60, capture_output=True
    )
    assert unreachable.returncode == 7
    assert not file.exists()
