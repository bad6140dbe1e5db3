"""Decides which outputs can be carried undecoded, and decoded wherever they arrive."""

import pytest

from control.model import limits, outputs


@pytest.mark.parametrize(
    "output",
    [
        b"null",
        b'{"a":[1,2.5e-300,1e30]}',
        b"9" * 300,
        b'"1e999"',
        b'{"digest":"' + b"7" * 5_000 + b'"}',
        b"[" * limits.VALUE_DEPTH_MAX + b"]" * limits.VALUE_DEPTH_MAX,
    ],
)
def test_what_everybody_can_decode_is_no_problem(output: bytes) -> None:
    assert outputs.problem(output) is None
    assert outputs.syntax_problem(output) is None


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (b"1e999", "number out of range"),
        (b'{"a":[-1E+0400]}', "number out of range"),
        (b"1" + b"0" * 5_000, "out of range"),
        (b"1" + b"0" * 300 + b"e20", "number out of range"),
        (b"[" * 500 + b"]" * 500, "nested more than"),
        (b'"' + b"x" * limits.OUTPUT_BYTES_MAX + b'"', "are kept"),
    ],
)
def test_what_somebody_cannot_is_one(output: bytes, words: str) -> None:
    assert words in (outputs.problem(output) or "").lower()


@pytest.mark.parametrize("output", [b"NaN", b'{"a":1', b'"\xff"', b"", b"1 2"])
def test_what_is_no_json(output: bytes) -> None:
    assert "is not JSON" in (outputs.syntax_problem(output) or "")
