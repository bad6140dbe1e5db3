"""Prints what others see of the version that executes it, as JSON: part, name, what it is.

`python interfaces.py WIRE FACTS MIGRATIONS`, with the modules of the worker protocol, the facts'
file, and the state's schema.
"""

import enum
import importlib
import sqlite3
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

import msgspec
import structlog
import typer
from msgspec import inspect
from typer.testing import CliRunner

from control.bus import asyncapi
from control.cli import main as tpctl
from control.model import config, names
from control.model.kinds import installed_kinds
from workers import cli as tpworker
from workers import config as worker_config


def helps(app: typer.Typer, command: str) -> Iterator[tuple[str, str]]:
    """Every command below one, by its words, and its help."""
    runner = CliRunner()

    def visit(found: object, words: tuple[str, ...]) -> Iterator[tuple[str, str]]:
        shown = runner.invoke(app, [*words, "--help"], prog_name=command, terminal_width=100)
        assert shown.exit_code == 0, shown.output
        # Where lines break and how they are filled up follows from the words.
        yield " ".join((command, *words)), " ".join(shown.output.replace("│", " ").split())
        for name, child in getattr(found, "commands", {}).items():
            yield from visit(child, (*words, name))

    yield from visit(typer.main.get_command(app), ())


def shape(of: object) -> str:
    """How values of a type are written and checked; classes have no names here."""
    return msgspec.json.encode(_tree(inspect.type_info(of), ())).decode()


def _tree(value: object, within: tuple[type, ...]) -> object:
    """What has nothing but JSON in it, of a description of a type or a part of one."""
    found: object
    match value:
        case inspect.StructType(cls=cls) if cls in within:
            found = f"the one {len(within) - within.index(cls)} above"
        case inspect.StructType(cls=cls):
            found = [repr(cls.__struct_config__.omit_defaults), *_fields(value, (*within, cls))]
        case inspect.EnumType(cls=cls):
            found = [str(member.value) for member in cls]
        case inspect.Metadata():
            found = [_tree(value.type, within), value.extra]  # Not what is said to people.
        case inspect.Field() | inspect.Type():
            found = [type(value).__name__, *_fields(value, within)]
        case msgspec.Raw():
            found = bytes(value).decode()
        case tuple():
            found = [_tree(each, within) for each in value]
        case None | bool() | int() | float() | str():
            found = value
        case _:
            found = getattr(value, "__name__", None) or repr(value)
    return found


def _fields(value: msgspec.Struct, within: tuple[type, ...]) -> list[object]:
    names = [name for name in value.__struct_fields__ if name != "cls"]
    return [[name, _tree(getattr(value, name), within)] for name in names]


def protocol(wire: ModuleType) -> Iterator[tuple[str, str]]:
    """The worker protocol: its version, and each frame."""
    yield "version", f"{wire.VERSION} {wire.SUBPROTOCOL}"
    for union in ("FromWorker", "ToWorker"):
        for frame in getattr(wire, union).__args__:
            yield f"{union} {frame.__struct_config__.tag}", shape(frame)


def words() -> Iterator[tuple[str, str]]:
    """Topics, groups, variables, files, and metrics."""
    for name, value in vars(names).items():
        if isinstance(value, str) and name.isupper():
            yield name, value
        elif isinstance(value, enum.EnumMeta) and value.__module__ == names.__name__:
            yield name, " ".join(value)


def settings() -> Iterator[tuple[str, str]]:
    """What the control plane and a worker can be told, with types, bounds, and defaults."""
    for field in msgspec.structs.fields(config.Config):
        factory = field.default_factory
        default = field.default if factory is msgspec.NODEFAULT else factory()
        default = "required" if default is msgspec.NODEFAULT else msgspec.to_builtins(default)
        yield field.name, f"{shape(field.type)} {default}"
    yield "worker", shape(worker_config._ConfigFile)  # noqa: SLF001 - It has no other name.


def kinds() -> Iterator[tuple[str, str]]:
    """The params of every kind that is installed."""
    registry = installed_kinds()
    assert not registry.broken, registry.broken
    for name in registry.names():
        for version in registry.versions(name):
            kind = registry.get(name, version)
            yield f"{name} {version}", f"{kind.summary} {shape(kind.params)}"


def state(migrations: ModuleType) -> Iterator[tuple[str, str]]:
    """Tables and indexes of a new state database."""
    conn = sqlite3.connect(":memory:", isolation_level=None)
    migrations.migrate(conn)
    yield from conn.execute(
        "SELECT type || ' ' || name, coalesce(sql, '') FROM sqlite_schema ORDER BY name"
    )
    conn.close()


def facts(file: ModuleType) -> Iterator[tuple[str, str]]:
    """Tables and macros of a new file of facts."""
    with TemporaryDirectory() as directory:
        conn = file.open_facts(Path(directory, "facts.duckdb"), Path(directory, "exports"))
        yield from conn.execute("SELECT table_name, sql FROM duckdb_tables()").fetchall()
        yield from conn.execute(
            "SELECT view_name, sql FROM duckdb_views() WHERE NOT internal"
        ).fetchall()
        yield from conn.execute(
            "SELECT function_name, parameters::TEXT || macro_definition FROM duckdb_functions() "
            "WHERE NOT internal AND macro_definition IS NOT NULL"
        ).fetchall()
        conn.close()


def everything(wire: str, file: str, migrations: str) -> Mapping[str, Mapping[str, str]]:
    """All parts."""
    return {
        "commands": dict([*helps(tpctl.app, "tpctl"), *helps(tpworker.app, "tpworker")]),
        "protocol": dict(protocol(importlib.import_module(wire))),
        "names": dict(words()),
        "settings": dict(settings()),
        "kinds": dict(kinds()),
        "state": dict(state(importlib.import_module(migrations))),
        "facts": dict(facts(importlib.import_module(file))),
        "asyncapi": {"document": asyncapi.as_text()},
    }


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    sys.stdout.buffer.write(msgspec.json.encode(everything(*sys.argv[1:])))
