"""Decides what every kind that comes with the worker must say about itself."""

import os
import subprocess
from pathlib import Path

import msgspec
import pytest

from control.model.kinds import installed_kinds
from tests.cli.calling import TPCTL

KINDS = installed_kinds()


@pytest.mark.parametrize("name", KINDS.names())
def test_a_kind_describes_its_params(name: str) -> None:
    kind = KINDS.get(name, "1.0.0")
    assert (kind.name, kind.version) == (name, "1.0.0")
    assert kind.summary
    schema = msgspec.json.schema(kind.params)
    definition = schema["$defs"][kind.params.__name__]
    assert definition["additionalProperties"] is False
    for param in definition["properties"].values():
        described = [param, *param.get("anyOf", ())]
        assert any("examples" in part for part in described)


@pytest.mark.parametrize(
    ("name", "required"),
    [
        ("Shell", ["command"]),
        ("Python", ["call"]),
        ("HTTP", ["url"]),
        ("Sleep", ["seconds"]),
        ("Container", ["image"]),
        ("Pipeline", ["name"]),
        ("Query", ["connection", "sql"]),
        ("Notification", ["target", "body"]),
        ("K8S/Job", ["manifest"]),
        ("K8S/Deployment", ["name", "image"]),
    ],
)
def test_required_params_are_the_contracts(name: str, required: list[str]) -> None:
    params = KINDS.get(name, "1.0.0").params
    assert msgspec.json.schema(params)["$defs"][params.__name__]["required"] == required


GOOD = """
import msgspec
from control.model.kinds import Kind
class Params(msgspec.Struct): pass
class Good(Kind[Params]):
    name, version, summary, params = "Good", "1.0.0", "Does nothing.", Params
    async def run(self, job, params, report): ...
class Twin(Good): pass
class Nameless(Kind[Params]): params = Params
class Version(Good): version = "1.0.0-beta"
class Params_(Good): params = dict
class Unreadable(Good):
    class params(msgspec.Struct):
        both: list[int] | set[int]
class NoKind: pass
"""
BROKEN = {
    "Good": ("plug:Good", None),
    "Good2": ("plug:Twin", "has Good 1.0.0 already"),
    "Import": ("plug_import:Kind", "No module named 'nothing_of_the_kind'"),
    "Syntax": ("plug_syntax:Kind", "SyntaxError"),
    "Exit": ("plug_exit:Kind", "SystemExit"),
    "Gone": ("plug:Gone", "has no attribute 'Gone'"),
    "NoKind": ("plug:NoKind", "is not a Kind class"),
    "Nameless": ("plug:Nameless", "has no name"),
    "Version": ("plug:Version", "'1.0.0-beta'; write it like 1.0.0"),
    "Params": ("plug:Params_", "are no msgspec.Struct"),
    "Unreadable": ("plug:Unreadable", "TypeError"),
}


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed distribution with kinds, most of which are broken."""
    (tmp_path / "plug.py").write_text(GOOD)
    (tmp_path / "plug_import.py").write_text("import nothing_of_the_kind")
    (tmp_path / "plug_syntax.py").write_text("def")
    (tmp_path / "plug_exit.py").write_text("import sys; sys.exit(3)")
    info = tmp_path / "some_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: some-plugin\nVersion: 1.0\n")
    lines = [f"{name} = {value}" for name, (value, _) in BROKEN.items()]
    (info / "entry_points.txt").write_text("\n".join(["[taskplane.kinds]", *lines, ""]))
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("plugins")
def test_a_broken_kind_is_missing_and_the_others_are_there() -> None:
    found = installed_kinds()
    assert {*KINDS.names(), "Good"} == {*found.names()}
    why = {name: words for name, (_, words) in BROKEN.items() if words is not None}
    assert {each.name for each in found.broken} == {*why}
    for each in found.broken:
        assert why[each.name] in each.why
        assert each.distribution == "some-plugin"
    assert found.missing("Import") == (
        "the kind Import of some-plugin cannot be used: "
        "ModuleNotFoundError: No module named 'nothing_of_the_kind'"
    )
    assert found.missing("Shell") is None


def test_the_command_goes_on_without_a_broken_kind(plugins: Path) -> None:
    environ = os.environ | {"PYTHONPATH": str(plugins)}
    listed = subprocess.run(
        [*TPCTL, "kind", "list", "-o", "name"],
        check=False,
        env=environ,
        capture_output=True,
        text=True,
    )
    assert listed.returncode == 0, listed.stderr
    assert listed.stdout.split() == sorted([*KINDS.names(), "Good"])
    assert "the kind Syntax of some-plugin cannot be used: SyntaxError" in listed.stderr
