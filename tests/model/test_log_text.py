"""Decides that nothing others wrote can act on a terminal, or look like a log line of ours."""

import io

import structlog
from hypothesis import given
from hypothesis import strategies as st

from control.model import limits
from control.model.log_text import escape_values


@given(st.text(), st.text(), st.lists(st.text()))
def test_no_value_has_control_characters_or_begins_a_line(
    text: str, error: str, several: list[str]
) -> None:
    event = escape_values(None, "info", {"client": text, "error": error, "several": several})
    for name, value in event.items():
        assert isinstance(value, str)
        unseen = [each for each in value if not each.isprintable() and each != "\n"]
        assert not [each for each in unseen if ord(each) < 0xA0 or 0xD800 <= ord(each) < 0xE000]
        assert "\u202e" not in value
        assert "\n" not in value or name == "error"
        assert "\n" not in value.replace("\n    ", "")


def test_long_values_are_cut_and_others_stay() -> None:
    event = escape_values(
        None, "info", {"a": "x" * 5_000, "n": 7, "none": None, "b": True, "error": "y" * 90_000}
    )
    assert str(event["a"]).endswith("… (4000 characters left out)")
    assert len(str(event["error"])) < limits.LOG_TRACE_CHARS_MAX + 50
    assert (event["n"], event["none"], event["b"]) == (7, None, True)


def test_a_traceback_of_foreign_text_is_escaped_and_indented() -> None:
    shown = io.StringIO()
    logger = structlog.wrap_logger(
        structlog.PrintLogger(shown),
        processors=[
            structlog.processors.format_exc_info,
            escape_values,
            structlog.dev.ConsoleRenderer(colors=False),
        ],
    )
    try:
        raise ValueError("\x1b[2J\n2026-01-01 [info] forged")  # noqa: TRY301 - As some parser does.
    except ValueError:
        logger.exception("request.failed")
    assert "\x1b" not in shown.getvalue()
    assert "\n2026" not in shown.getvalue()
