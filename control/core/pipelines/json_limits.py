"""Decides which values every part of the system can carry: JSON, bounded in every direction."""

import math
import re
from collections.abc import Mapping
from typing import Final, NoReturn

from control.core.pipelines.problems import Findings
from control.model import limits
from control.model.json_values import Path, show

INT_MIN: Final = -(2**63)
INT_MAX: Final = 2**64 - 1
_INT_DIGITS_MAX: Final = 20
_UNTEXT: Final = re.compile("[\x00\ud800-\udfff]")


def check_plain(
    value: object,
    path: Path,
    findings: Findings,
    keys_twice: Mapping[int, list[str]] | None = None,
) -> None:
    """Note what is wrong with a value; raises Invalid at once where it is too deep or too large.

    `keys_twice` names, by the identity of an object, the keys its source said more than once.
    """
    _Pass(findings, keys_twice or {}, len(path) + limits.YAML_DEPTH_MAX).check(value, path)


def bounded_int(digits: str, base: int = 10) -> int:
    """Read digits; of more than fit 64 bits only that they do not fit is kept."""
    significant = digits.lstrip("+-0")
    if len(significant) > (_INT_DIGITS_MAX if base == 10 else 64):  # noqa: PLR2004 - decimal.
        return INT_MAX + 1
    return int(digits, base)


class _Pass:
    """One pass over one value, counting what it holds."""

    def __init__(
        self, findings: Findings, keys_twice: Mapping[int, list[str]], depth_max: int
    ) -> None:
        self._findings = findings
        self._keys_twice = keys_twice
        self._depth_max = depth_max
        self._nodes = 0
        self._chars = 0

    def check(self, value: object, path: Path) -> None:
        self._nodes += 1
        if self._nodes > limits.YAML_NODES_MAX:
            self._stop(path, f"more than {limits.YAML_NODES_MAX} values")
        if isinstance(value, dict | list) and len(path) >= self._depth_max:
            self._stop(path, f"nested more than {limits.YAML_DEPTH_MAX} levels deep")
        if isinstance(value, dict):
            self._object(value, path)
        elif isinstance(value, list):
            for index, item in enumerate(value):
                self.check(item, (*path, index))
        elif isinstance(value, str):
            self._text(value, path)
        elif isinstance(value, float):
            if not math.isfinite(value):
                self._findings.add(path, "not a finite number, which JSON cannot say")
        elif isinstance(value, int):
            if not INT_MIN <= value <= INT_MAX:
                self._findings.add(path, "a whole number of more than 64 bits", "put it in quotes")
        elif value is not None:
            self._findings.add(path, f"a {type(value).__name__} is no JSON value")

    def _object(self, value: Mapping[object, object], path: Path) -> None:
        for repeated in self._keys_twice.get(id(value), ()):
            self._findings.add(path, f"the key {show(repeated)} stands here twice")
        for key, item in value.items():
            if not isinstance(key, str):
                self._findings.add(path, "a key of an object must be text")
            elif self._text(key, path):
                self.check(item, (*path, key))

    def _text(self, text: str, path: Path) -> bool:
        self._chars += len(text)
        if self._chars > limits.PIPELINE_BYTES_MAX:
            self._stop(path, f"more than {limits.PIPELINE_BYTES_MAX} characters of text")
        if _UNTEXT.search(text):
            self._findings.add(path, "text with a NUL or half a surrogate pair in it")
            return False
        return True

    def _stop(self, path: Path, message: str) -> NoReturn:
        self._findings.add(path, message)
        raise self._findings.as_invalid()
