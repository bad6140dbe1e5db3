"""Decides whether a job's output, which travels undecoded, can be carried by every part."""

import re
from typing import Final

from control.model import limits

_TOKENS: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[{\]}]')


def problem(output: bytes) -> str | None:
    """What is wrong with the size or the depth of valid JSON, in words."""
    if len(output) > limits.OUTPUT_BYTES_MAX:
        return f"the output has {len(output)} bytes; at most {limits.OUTPUT_BYTES_MAX} are kept"
    too_deep = depth_problem(output)
    return None if too_deep is None else f"the output is {too_deep}"


def depth_problem(output: bytes) -> str | None:
    """What is wrong with the depth of valid JSON, in words that follow `is`."""
    if output.count(b"[") + output.count(b"{") <= limits.VALUE_DEPTH_MAX:
        return None
    depth = 0
    for match in _TOKENS.finditer(output):
        token = match[0]
        if token in {b"[", b"{"}:
            depth += 1
            # Decoders recurse: what is read here must also be readable inside what holds it.
            if depth > limits.VALUE_DEPTH_MAX:
                return f"nested more than {limits.VALUE_DEPTH_MAX} levels deep"
        elif token in {b"]", b"}"}:
            depth -= 1
    return None
