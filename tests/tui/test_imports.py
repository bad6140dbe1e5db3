"""Decides that only the console pays for Textual: nothing else imports it, nor websockets."""

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

_ROOT: Final = Path(__file__).parents[2]
_HEAVY: Final = ("textual", "websockets", "tui", "textual_serve", "aiohttp")
_STARTS_CONSOLES: Final = {"control.cli.console.start", "control.cli.console.guarded_server"}
"""What `tpctl tui` imports when it is called, and not before."""
_TRY: Final = """\
import importlib, sys
for name in sys.argv[2:]:
    importlib.import_module(name)
found = set(sys.argv[1].split(",")) & {name.partition(".")[0] for name in sys.modules}
sys.exit(f"imported: {sorted(found)}" if found else 0)
"""


def _modules(package: str) -> list[str]:
    """The names of all modules of a package."""
    found = []
    for path in sorted((_ROOT / package).rglob("*.py")):
        parts = path.relative_to(_ROOT).with_suffix("").parts
        found.append(".".join(parts[:-1] if parts[-1] in {"__init__", "__main__"} else parts))
    return found


def _check(names: list[str]) -> None:
    command = [sys.executable, "-c", _TRY, ",".join(_HEAVY), *names]
    done = subprocess.run(command, cwd=_ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_command_line_imports_no_console() -> None:
    _check(["control.cli.main"])


@pytest.mark.parametrize("package", ["control", "workers"])
def test_no_other_module_imports_the_console(package: str) -> None:
    names = [name for name in _modules(package) if name not in _STARTS_CONSOLES]
    assert len(names) > 3
    _check(names)
