"""Decides that every command and every code block in the documentation works as it stands there."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import msgspec
import pytest
import trio
import typer.main
from typer.core import TyperGroup

from bench.servers.system import start_control, start_worker
from control.cli.main import app
from control.core.pipelines.validate import parse_pipeline
from control.core.schedules.cron import check_schedule
from control.model.config import load_config
from control.model.kinds import installed_kinds
from control.model.worker import wire
from control.model.worker.settings import Tables, settings_of
from tests.e2e.blocks import Block, blocks
from workers.config import Flags
from workers.config import load_config as load_worker_config

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parent.parent.parent
YOUR_OWN = ROOT / "docs" / "kinds" / "your-own.md"
KINDS = [page for page in sorted((ROOT / "docs" / "kinds").glob("*.md")) if page != YOUR_OWN]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *KINDS, YOUR_OWN]
# The one block that is not run as it stands: the fixtures do, on free ports and another directory.
UP = "tpctl up --workers 4\n"
LANGUAGES = {"sh", "yaml", "json", "toml", "python", "text"}


def with_podman(request: pytest.FixtureRequest, directory: Path) -> tuple[str, ...]:
    podman = request.getfixturevalue("podman")
    config = directory / "podman.toml"
    arguments = json.dumps(podman.arguments)
    config.write_text(f'[container]\nengine = "podman"\narguments = {arguments}\n')
    return "--config", str(config)


# What the worker of a page needs besides.
WORKER_FLAGS = {"container.md": with_podman}


def of(page: Path, language: str) -> list[Block]:
    return [block for block in blocks(page) if block.language == language]


def page_ids(page: Path) -> str:
    return page.name


def environment(data_dir: Path, **more: str) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "TP_DATA_DIR": str(data_dir), "NO_COLOR": "1", **more}


def run(script: str, directory: Path, environ: dict[str, str]) -> str:
    found = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=directory,
        env=environ,
        capture_output=True,
        text=True,
        timeout=600,  # Only ends what would wait for ever.
        check=False,
    )
    said = f"{script}\n--- stdout\n{found.stdout}\n--- stderr\n{found.stderr}"
    assert found.returncode == 0, said
    return found.stdout


@pytest.mark.parametrize("page", PAGES, ids=page_ids)
def test_every_block_is_of_a_kind_that_is_tested(page: Path) -> None:
    assert {block.language for block in blocks(page)} <= LANGUAGES


@pytest.mark.parametrize("page", [p for p in PAGES if of(p, "sh")], ids=page_ids)
def test_the_commands_of_a_page_work_in_order(
    page: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    data_dir = tmp_path / "data"
    flags = WORKER_FLAGS[page.name](request, tmp_path) if page.name in WORKER_FLAGS else ()
    for block in blocks(page):
        if block.file:
            (tmp_path / block.file).write_text(block.text, encoding="utf-8")
    script = "\n".join(block.text for block in of(page, "sh") if block.text != UP)
    # The worker of its own, too, but there before the first command is.
    with start_control(data_dir), start_worker(data_dir, *flags, slots=4, name="local"):
        run(script, tmp_path, environment(data_dir))


@pytest.mark.parametrize("page", [p for p in PAGES if p != YOUR_OWN], ids=page_ids)
def test_the_pipelines_of_a_page_are_valid(page: Path) -> None:
    for block in of(page, "yaml"):
        parse_pipeline(
            block.text.encode(), yaml=True, kinds=installed_kinds(), check_schedule=check_schedule
        )


def test_the_examples_are_valid() -> None:
    for example in sorted((ROOT / "examples").glob("*.yaml")):
        parse_pipeline(
            example.read_bytes(), yaml=True, kinds=installed_kinds(), check_schedule=check_schedule
        )


def test_the_frames_of_the_protocol_are_frames() -> None:
    decoded = 0
    for block in of(ROOT / "docs" / "worker-protocol.md", "json"):
        decoder = wire.TO_WORKER if '"assign"' in block.text else wire.FROM_WORKER
        decoded += len(decoder.decode(block.text))
    assert decoded == 5


def test_the_settings_file_is_read(tmp_path: Path) -> None:
    block, _ = of(ROOT / "docs" / "operating.md", "toml")
    file = tmp_path / "taskplane.toml"
    file.write_text(block.text, encoding="utf-8")
    assert load_config({}, {}, file).partitions == tomllib.loads(block.text)["partitions"]


def test_the_workers_settings_file_is_read(tmp_path: Path) -> None:
    _, block = of(ROOT / "docs" / "operating.md", "toml")
    file = tmp_path / "worker.toml"
    file.write_text(block.text, encoding="utf-8")
    flags = Flags(urls=["ws://HOST:8701"], config=file)
    environ = {"TP_CLIENT_ID": "w", "TP_CLIENT_SECRET": "s", "SALES_PASSWORD": "p"}
    config = load_worker_config(flags, environ | {"HOME": str(tmp_path)}, "host")
    assert config.slots == tomllib.loads(block.text)["slots"]
    assert config.settings.connections["sales"].secret == "p"


@pytest.mark.parametrize(
    "block",
    [block for page in KINDS for block in of(page, "toml")],
    ids=lambda block: block.file,
)
def test_the_workers_config_of_a_page_is_read(block: Block) -> None:
    kinds = installed_kinds()
    tables = msgspec.convert(tomllib.loads(block.text), Tables)
    for kind in kinds.of_workers().values():
        kind().configure(settings_of(tables, {"OPS_PASSWORD": "p", "SALES_PASSWORD": "p"}))


@pytest.mark.parametrize("page", KINDS, ids=page_ids)
def test_what_a_page_claims_is_shown_by_tests(page: Path) -> None:
    rows = page.read_text("utf-8").partition("## What becomes of it")[2]
    claims = re.findall(r"^\| (?!shown|---)([^|]+) \| .+ \| (.+) \|$", rows, re.MULTILINE)
    assert len(claims) >= 3
    for claim, shown in claims:
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", shown)
        assert named, claim
        for file, function in named:
            source = (ROOT / file).read_text("utf-8")
            assert re.search(rf"^(async )?def {function}\(", source, re.MULTILINE), function


@pytest.mark.parametrize("page", KINDS, ids=page_ids)
def test_a_page_names_all_params_of_its_kind(page: Path) -> None:
    text = page.read_text("utf-8")
    kinds = installed_kinds()
    name = text.partition("\n")[0].removeprefix("# ")
    params = kinds.get(name, kinds.versions(name)[-1]).params
    assert [field for field in params.__struct_fields__ if f"`{field}`" not in text] == []


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """The kinds of the page, as an installed package: found by the entry points in its metadata."""
    site = tmp_path / "site"
    for source in of(YOUR_OWN, "python"):
        assert source.file is not None
        (site / source.file).parent.mkdir(parents=True, exist_ok=True)
        (site / source.file).write_text(source.text, encoding="utf-8")
    (project,) = of(YOUR_OWN, "toml")
    entries = tomllib.loads(project.text)["project"]["entry-points"]["taskplane.kinds"]
    info = site / "word_count-1.0.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: word-count\nVersion: 1.0.0\n")
    listed = "".join(f"{name} = {target}\n" for name, target in entries.items())
    (info / "entry_points.txt").write_text(f"[taskplane.kinds]\n{listed}")
    return site


def test_the_kind_of_the_page_runs(tmp_path: Path, site: Path) -> None:
    (pipeline,) = of(YOUR_OWN, "yaml")
    (tmp_path / "count.yaml").write_text(pipeline.text, encoding="utf-8")
    data_dir = tmp_path / "data"
    environ = environment(data_dir, PYTHONPATH=str(site))
    assert "least" in run("tpctl kind show WordCount", tmp_path, environ)
    with start_control(data_dir, "--workers", "1", environ={"PYTHONPATH": str(site)}):
        run("tpctl run submit count.yaml --wait", tmp_path, environ)
        assert "6 words" in run("tpctl job logs 1", tmp_path, environ)


def test_the_adopting_kind_of_the_page_starts_nothing_twice(tmp_path: Path, site: Path) -> None:
    spool, data_dir = tmp_path / "spool", tmp_path / "data"
    spool.mkdir()
    pipeline = {
        "name": "batch",
        "stages": ["s"],
        "jobs": [{"name": "a", "stage": "s", "kind": "Batch", "params": {"order": "sort"}}],
    }
    (tmp_path / "batch.json").write_text(json.dumps(pipeline), encoding="utf-8")
    environ = environment(data_dir, PYTHONPATH=str(site))
    of_worker = {"PYTHONPATH": str(site), "BATCH_SPOOL": str(spool)}
    with start_control(data_dir, environ={"PYTHONPATH": str(site)}):
        with start_worker(data_dir, slots=1, name="one", environ=of_worker) as worker:
            run("tpctl run submit batch.json", tmp_path, environ)
            while not [*spool.glob("*.order")]:
                trio.run(trio.sleep, 0.05)
            worker.kill()
            worker.wait()
        with start_worker(data_dir, slots=1, name="two", environ=of_worker):
            (order,) = spool.iterdir()
            order.with_suffix(".answer").write_text("sorted", encoding="utf-8")
            run("tpctl run watch 1", tmp_path, environ)
            assert "takes over" in run("tpctl job logs 1", tmp_path, environ)
    assert len([*spool.glob("*.order")]) == 1
    assert not [*spool.glob("*.cancel")]


@pytest.mark.parametrize("page", PAGES, ids=page_ids)
def test_commands_named_in_a_text_exist(page: Path) -> None:
    root = typer.main.get_command(app)
    for line in re.findall(r"`(tpctl [^`]+)`", page.read_text(encoding="utf-8")):
        command: object = root
        for word in line.split()[1:]:
            if not isinstance(command, TyperGroup) or word.startswith("-"):
                break
            assert word in command.commands, f"there is no command like {line!r}"
            command = command.commands[word]


def test_every_command_is_in_the_documentation() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    root = typer.main.get_command(app)
    assert isinstance(root, TyperGroup)
    missing = [
        f"tpctl {name} {sub}"
        for name, group in root.commands.items()
        if isinstance(group, TyperGroup)
        for sub in group.commands
        if f"tpctl {name} {sub}" not in text
    ]
    assert not missing
