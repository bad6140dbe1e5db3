"""Owns files that the user asks for: readable by nobody else, and never over another one."""

import os
from pathlib import Path


def write_new(name: str, text: str) -> Path:
    """Write a file of this name here, or of the next one that is free; raises `OSError`."""
    wanted = Path(name)
    number = 1
    path = wanted
    while path.exists():
        number += 1
        path = wanted.with_stem(f"{wanted.stem}-{number}")
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    return path
