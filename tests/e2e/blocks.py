"""Owns how the code blocks of a Markdown page are found."""

import re
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"^# (\S+\.\w+)$")


@dataclass(frozen=True)
class Block:
    """One block. `file`: the name in a first line like `# hello.yaml`."""

    language: str
    text: str
    file: str | None


def blocks(page: Path) -> list[Block]:
    """All code blocks of a page, in order."""
    found = []
    for language, text in _BLOCK.findall(page.read_text(encoding="utf-8")):
        match = _FILE.match(text.partition("\n")[0])
        found.append(Block(language, text, match[1] if match else None))
    return found
