"""Decides whether a job's output, which travels undecoded, can be carried by every part."""

import re
from typing import Final

import msgspec

from control.model import limits

_TOKENS: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[{\]}]')
# Where JSON has such, perhaps in a text, its numbers may be more than decoders take.
_LARGE: Final = re.compile(rb"[0-9]{290}|[0-9.][eE]\+?[0-9]{3}")


def problem(output: bytes) -> str | None:
    """What is wrong with the size, the depth, or a number of valid JSON, in words."""
    if len(output) > limits.OUTPUT_BYTES_MAX:
        return f"the output has {len(output)} bytes; at most {limits.OUTPUT_BYTES_MAX} are kept"
    too_deep = depth_problem(output)
    if too_deep is not None:
        return f"the output is {too_deep}"
    return _number_problem(output)


def syntax_problem(output: bytes) -> str | None:
    """Why this is no JSON that can be carried undecoded."""
    try:
        msgspec.json.decode(output.decode(), type=msgspec.Raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return f"the output is not JSON: {error}"
    return None


def _number_problem(output: bytes) -> str | None:
    if _LARGE.search(output) is None:
        return None
    try:
        msgspec.json.decode(output)
    except msgspec.DecodeError as error:
        return f"the output cannot be read: {error}; such a number fits into a text only"
    return None


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
