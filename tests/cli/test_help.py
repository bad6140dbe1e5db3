"""Checks that every command explains itself, and that asking for help is quick."""

import subprocess
import sys

import pytest
import typer

from control.cli.main import app
from tests.cli.calling import Tpctl

_COMMANDS = """
pipeline: validate apply list show delete
run: start submit list show watch logs cancel retry
job: show logs cancel priority explain
schedule: list preview pause resume trigger backfill
worker: list drain
partition: list split
stats: summary pipelines slow export sql
client: create list update delete rotate
kind: list show
hook: create list delete
bus: promote demote
"""
COMMANDS = [
    (group, name)
    for group, _, names in (line.partition(":") for line in _COMMANDS.strip().splitlines())
    for name in names.split()
] + [
    *(("bus", "dead-letters", name) for name in ("list", "show", "replay", "drop")),
    ("backup",),
    ("doctor",),
    ("restore",),
    ("simulate",),
    ("tui",),
    ("up",),
]
_HEAVY = ("httpx", "trio", "duckdb", "litestar", "hypercorn", "croniter", "sqlite3", "yaml")


def registered(within: typer.Typer) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = [(command.name or "",) for command in within.registered_commands]
    for group in within.registered_groups:
        assert group.typer_instance is not None
        found += [(group.name or "", *rest) for rest in registered(group.typer_instance)]
    return found


def test_the_commands_are_those_of_the_contract() -> None:
    assert sorted(registered(app)) == sorted(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example(tpctl: Tpctl, command: tuple[str, ...]) -> None:
    shown = tpctl(*command, "--help")
    assert shown.code == 0
    assert f"tpctl {' '.join(command)}" in shown.out.partition("Example:")[2]


@pytest.mark.parametrize("command", COMMANDS[:-1], ids=" ".join)
def test_every_command_takes_the_shared_options(tpctl: Tpctl, command: tuple[str, ...]) -> None:
    shown = tpctl(*command, "--help").out
    assert all(option in shown for option in ("--url", "--data-dir", "--output"))


def test_help_loads_nothing_heavy() -> None:
    code = (
        f"import sys, control.cli.main\nprint(*[name for name in {_HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_usage_errors_end_with_2(tpctl: Tpctl) -> None:
    for wrong in (["nonsense"], ["run", "show", "x"], ["run", "list", "-o", "xml"], ["run"]):
        assert tpctl(*wrong).code == 2


def test_the_version_is_told(tpctl: Tpctl) -> None:
    assert tpctl("--version").out.strip()


def test_the_console_says_that_it_needs_a_terminal(tpctl: Tpctl) -> None:
    """Without one it would wait for keys for ever, at the cost of a whole core."""
    shown = tpctl("tui")
    assert shown.code == 2
    assert "needs a terminal" in shown.err
