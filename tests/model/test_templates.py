"""Templates name places in a job's input; what they insert is data and stays data."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from control.model import limits
from control.model.errors import Invalid, JobFailed
from control.model.json_values import Json, write_path
from control.model.templates import Renderer, is_whole, references, render

DATA: dict[str, Json] = {
    "run": {"n": 3, "text": "a b", "list": [1, {"k": None}], "odd key": True, "7": "seven"},
    "jobs": {"pull-orders": {"rows": 2}, "a.b": "dotted"},
}
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("${{ run.n }}", 3),
        ("${{run.n}}", 3),
        ("${{ run }}", DATA["run"]),
        ("${{ run.list[1].k }}", None),
        ("${{ run.list[ 0 ] }}", 1),
        ('${{ run["odd key"] }}', True),
        ("${{ run['odd key'] }}", True),
        ("${{ run.7 }}", "seven"),
        ("${{ jobs.pull-orders.rows }}", 2),
        ("${{ jobs['a.b'] }}", "dotted"),
        ("n is ${{ run.n }}, text is ${{ run.text }}.", "n is 3, text is a b."),
        ("${{ run.list }}!", '[1,{"k":null}]!'),
        ("${{ run.n }}${{ run.n }}", "33"),
        (" ${{ run.n }}", " 3"),
        ("${{ run.n }}}", "3}"),
        ("no $ {{ template }} ${HOME}", "no $ {{ template }} ${HOME}"),
        ("${{ run.n ?? 5 }}", 3),
        ("${{ run.nothing ?? 5 }}", 5),
        ("${{run.nothing??null}}", None),
        ("${{ run.list[7].deep ?? [1, {}] }}", [1, {}]),
        ('${{ run.list[1].k ?? "was null" }}', "was null"),
        ('on ${{ run.host ?? "}} no ne" }} and ${{ run.n }}', "on }} no ne and 3"),
        ("${{ run.a ?? 1 }}${{ run.a ?? 2 }}", "12"),
    ],
)
def test_a_template_becomes_what_it_names(template: str, value: Json) -> None:
    assert render(template, DATA) == value


def test_every_string_inside_is_filled_in_and_keys_are_left_alone() -> None:
    value: Json = {"${{ run.n }}": ["${{ run.n }}", 1, None, {"x": "<${{ run.text }}>"}]}
    assert render(value, DATA) == {"${{ run.n }}": [3, 1, None, {"x": "<a b>"}]}


def test_text_stays_text_where_only_text_will_do() -> None:
    assert Renderer(DATA).text("${{ run.n }}") == "3"
    assert Renderer(DATA).text("plain") == "plain"


def test_a_value_for_a_command_travels_in_a_variable() -> None:
    renderer = Renderer(DATA)
    names = [renderer.variable(each, "") for each in references("${{ run.n }} ${{ run['n'] }}")]
    assert renderer.variables == {names[0]: "3"}
    assert names[0] == names[1]


@pytest.mark.parametrize(
    ("value", "words"),
    [("x" * limits.ENV_VALUE_BYTES_MAX + "y", "129025 bytes; at most"), ("a\0b", "NUL character")],
)
def test_a_value_that_no_variable_can_hold_says_where_to_read_it(value: str, words: str) -> None:
    text = "${{ run.x }}"
    with pytest.raises(JobFailed, match=words) as error:
        Renderer({"run": {"x": value}}).variable(references(text)[0], text)
    assert "$TP_INPUT" in str(error.value)


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("${{ run.x }}", "${{ run.x }} names nothing: run has n, text, list, "),
        ("${{ run.n.x }}", "run.n is 3, which has no parts"),
        ("${{ run.list[2] }}", "run.list is a list of 2, [0] to [1]"),
        ("${{ run.list.x }}", "run.list is a list of 2"),
        ("${{ run[0] }}", "run has n"),
        ("${{ jobs.other }}", 'jobs has pull-orders, ["a.b"]'),
        ("${{ jobs['a.b'].x }}", 'jobs["a.b"] is "dotted"'),
    ],
)
def test_a_template_that_names_nothing_says_what_exists(template: str, words: str) -> None:
    with pytest.raises(JobFailed) as error:
        render(f"text {template}", DATA)
    assert words in str(error.value)


def test_empty_and_missing_inputs_are_said_to_be_so() -> None:
    with pytest.raises(JobFailed, match="run is empty"):
        render("${{ run.x }}", {"run": {}})
    with pytest.raises(JobFailed, match="the job's input is empty"):
        render("${{ run }}", {})


@pytest.mark.parametrize(
    "text",
    [
        "${{",
        "${{ }}",
        "${{ run",
        "${{ run. }}",
        "${{ run.x y }}",
        "${{ runs.x }}",
        "${{ env.X }}",
        "${{ run[-1] }}",
        "${{ run[x] }}",
        '${{ run["\\q"] }}',
        '${{ run["\\ud800"] }}',
        "${{ jobs[0] }}",
        "${{ run.x | upper }}",
        "${{ run.x ?? }}",
        "${{ run.x ?? none }}",
        "${{ run.x ?? NaN }}",
        '${{ run.x ?? "\\ud800" }}',
        "${{ run.x ?? 1e999 }}",
        "${{ run.x ?? 'a' }}",
        "${{ run.x ?? 5 6 }}",
        "${{ this.host }}",
        "${{ states[0] }}",
    ],
)
def test_what_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(Invalid) as error:
        references(text)
    assert all(problem.message and problem.hint for problem in error.value.problems)
    assert not is_whole(text)
    with pytest.raises(JobFailed):
        render(text, DATA)


def test_every_unreadable_template_of_a_text_is_listed() -> None:
    with pytest.raises(Invalid) as error:
        references("${{ a }} ${{ run.x }} ${{ b }}")
    assert len(error.value.problems) == 2
    with pytest.raises(Invalid) as error:
        references("${{ " * (limits.PROBLEMS_MAX + 10))
    assert len(error.value.problems) == limits.PROBLEMS_MAX


def test_references_say_which_job_they_name() -> None:
    found = references("${{ run.x }} ${{ jobs.a.x }} ${{ jobs }} ${{ states.b.state }}")
    assert [reference.job for reference in found] == [None, "a", None, "b"]
    assert found[1].path == ("jobs", "a", "x")


def test_few_bytes_cannot_fill_in_many() -> None:
    data: dict[str, Json] = {"run": "x" * limits.MIB}
    many = "${{ run }} " * (limits.JOB_INPUT_BYTES_MAX // limits.MIB + 1)
    with pytest.raises(JobFailed, match="fill in more than"):
        render(many, data)
    with pytest.raises(JobFailed, match="fill in more than"):
        render(["${{ run }}"] * 9, data)


@given(JSON_VALUES)
def test_a_whole_template_keeps_value_and_type(value: Json) -> None:
    filled = render("${{ run.x }}", {"run": {"x": value}})
    assert filled == value
    assert type(filled) is type(value)


@given(JSON_VALUES)
def test_what_was_inserted_is_not_looked_at_again(value: Json) -> None:
    data: dict[str, Json] = {"run": ["${{ run[1] }}", value]}
    assert render("${{ run[0] }}", data) == "${{ run[1] }}"
    assert render("<${{ run[0] }}>", data) == "<${{ run[1] }}>"


@given(st.text(alphabet="${} runjobs.[]\"'0x\\") | st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = references(text)
    except Invalid:
        return
    assert all(text[reference.start :].startswith("${{") for reference in found)


@example(["-"])
@given(st.lists(st.text(max_size=40) | st.integers(0, 10**6), max_size=4))
def test_a_written_path_reads_back(steps: list[str | int]) -> None:
    path = ("run", *steps)
    assert references("${{ " + write_path(path) + " }}")[0].path == path
