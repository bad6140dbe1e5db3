"""Documents are read by YAML 1.2 and JSON, within limits, and every refusal has a place."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from control.core.pipelines.documents import read_json, read_yaml
from control.model import limits
from control.model.errors import Invalid, Problem
from control.model.json_values import Json

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_characters="\0")),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(codec="utf-8", exclude_characters="\0")), inner)
    ),
    max_leaves=12,
)


def refused(text: str | bytes, *, yaml: bool = True) -> tuple[Problem, ...]:
    body = text.encode() if isinstance(text, str) else text
    with pytest.raises(Invalid) as error:
        read_yaml(body) if yaml else read_json(body)
    assert all(problem.message for problem in error.value.problems)
    return error.value.problems


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[true, True, TRUE, false]", [True, True, True, False]),
        ("[yes, no, on, off, y, n]", ["yes", "no", "on", "off", "y", "n"]),
        ("[~, null, Null, '']", [None, None, None, ""]),
        ("a:", {"a": None}),
        ("on: 1", {"on": 1}),
        ("[1, -1, +1, 012, 0o17, 0xfF, 1_000]", [1, -1, 1, 12, 15, 255, "1_000"]),
        ("[1.5, .5, 1., 1e3, -1.5E-1, 1.0.0]", [1.5, 0.5, 1.0, 1000.0, -0.15, "1.0.0"]),
        (
            "[2026-11-22, 2026-11-22T09:30:00Z, 12:30]",
            ["2026-11-22", "2026-11-22T09:30:00Z", "12:30"],
        ),
        ("['5', \"5\", ! 5, !!str 5, !!int '5', !!float 5]", ["5", "5", "5", "5", 5, 5]),
        ("[!!null '', !!bool 'true', !!seq [], !!map {}]", [None, True, [], {}]),
        ("a: &x [1, {b: 2}]\nc: *x", {"a": [1, {"b": 2}], "c": [1, {"b": 2}]}),
        ("\ufeffa: ä", {"a": "ä"}),
        ("'<<': 1", {"<<": 1}),
        ("a: ${{ run.x }}", {"a": "${{ run.x }}"}),
    ],
)
def test_yaml_means_what_yaml_1_2_says(text: str, value: Json) -> None:
    found = read_yaml(text.encode()).value
    assert json.dumps(found) == json.dumps(value)


def test_merge_keys_fill_in_what_is_not_said() -> None:
    text = "- &a {x: 1, y: 1}\n- &b {<<: *a, y: 2}\n- {y: 3, <<: [*b, {x: 4, z: 4}]}"
    assert read_yaml(text.encode()).value == [
        {"x": 1, "y": 1},
        {"x": 1, "y": 2},
        {"x": 1, "y": 3, "z": 4},
    ]
    assert "<< takes a mapping" in refused("<<: 1")[0].message
    assert "<< takes a mapping" in refused("<<: [{}, 1]")[0].message


def test_every_place_has_its_line() -> None:
    document = read_yaml(b"a: 1\nb:\n  - x\n  - c:\n      [1,\n       2]\n")
    assert document.lines == {
        (): 1,
        ("a",): 1,
        ("b",): 2,
        ("b", 0): 3,
        ("b", 1): 4,
        ("b", 1, "c"): 4,
        ("b", 1, "c", 0): 5,
        ("b", 1, "c", 1): 6,
    }


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", None, "empty"),
        ("a: 1\na: 2", 2, "twice, first in line 1"),
        ("a: 1\n5: 2", 2, "the key 5 is not text"),
        ("a: 1\ntrue: 2", 2, "the key true is not text"),
        ("a: 1\n[x]: 2", 2, "a key must be text"),
        ("a: 1\n---\nb: 2", 2, "second document"),
        ("a: 1\nb: *x", 2, "names nothing"),
        ("a: 1\nb: &x [*x]", 2, "inside what it names"),
        ("a: !!python/object/apply:os.system [x]", 1, "the tag"),
        ("a: !!timestamp 2026-11-22", 1, "the tag"),
        ("a: !mine x", 1, "the tag"),
        ("a: !mine {}", 1, "the tag"),
        ("a: !!int x", 1, '"x" is no int'),
        ("a: !!map []", 1, "does not fit"),
        ("a: 1\nb: .nan", 2, "finite"),
        ("a: 1\nb: -.Inf", 2, "finite"),
        ("a: 1\nb: 1e999", 2, "finite"),
        ("a: 1\nb: 18446744073709551616", 2, "64 bits"),
        ("a: 1\nb: -9223372036854775809", 2, "64 bits"),
        ("a: 1\nb: 0x" + "f" * 100_000, 2, "64 bits"),
        ("a: 1\nb: " + "9" * 100_000, 2, "64 bits"),
        ('a: 1\nb: "\\0"', 2, "NUL"),
        ('a: 1\n"\\0": 1', None, "NUL"),
        ("a: 1\nb: \0", 2, "NUL"),
        ("a: 1\nb: \x01", None, "control characters"),
        ("a: 1\nb: [", None, "not valid YAML"),
    ],
)
def test_what_json_cannot_say_or_yaml_should_not_is_refused(
    text: str, line: int | None, words: str
) -> None:
    problem = refused(text)[0]
    assert words in problem.message
    assert line is None or problem.line == line


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("cron: */5 * * * *", "must stand in quotes"),
        ("cron: * * * * *", "must stand in quotes"),
        ("cron: *5", "must stand in quotes"),
        ("cron: @hourly", "starts with @ must stand in quotes"),
        ("a:\n\tb: 1", "spaces, not tabs"),
        ("a: b: c", "must stand in quotes"),
        ("a: {b: ${{ run.x }}}", "template must stand in quotes"),
        ("5: x", 'put it in quotes: "5"'),
    ],
)
def test_common_mistakes_get_a_hint(text: str, hint: str) -> None:
    assert hint in (refused(text)[0].hint or "")


def test_all_problems_of_a_document_are_listed() -> None:
    assert [problem.line for problem in refused("a: 1\na: 2\n5: x\nc: .nan\nd: !x y")] == [
        2,
        3,
        4,
        5,
    ]


def test_bombs_do_not_go_off() -> None:
    lists = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lists += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    assert "aliases are expanded" in refused("\n".join(lists))[0].message
    maps = ["a0: &a0 {x: 1}"]
    maps += [f"a{n}: &a{n} {{k{n}: 1, <<: [*a{n - 1}, *a{n - 1}]}}" for n in range(1, 30)]
    assert read_yaml("\n".join(maps).encode()).value
    chain = [f"a{n}: &a{n} {{b: {f'*a{n - 1}' if n else 1}}}" for n in range(100)]
    assert "levels deep" in refused("\n".join(chain[:80]))[0].message
    # Anchors in a list, so that the last is reached before those it takes from.
    merges = [f"&a{n} {{<<: {f'*a{n - 1}' if n else '{}'}, k{n}: 1}}" for n in range(1000)]
    assert "aliases are expanded" in refused("- " + "\n- ".join(merges))[0].message
    unread = "k: 1\nk: [" + ", ".join(merges[:100]) + "]\nz: {<<: *a99}"
    assert "merge keys" in refused(unread)[0].message
    nested = "{<<: " * 60 + "{x: 1}" + "}" * 60
    assert read_yaml(nested.encode()).value == {"x": 1}
    text = "a: &a " + "x" * 100_000 + "\nb: [" + "*a, " * 100 + "]"
    assert "characters of text" in refused(text)[0].message
    assert "values" in refused("[" + "1," * (limits.YAML_NODES_MAX + 1) + "]")[0].message


@pytest.mark.parametrize("opening", ["[", '{"a":', "- ", "? ", "[{a: "])
def test_depth_ends_in_a_refusal_and_not_in_a_full_stack(opening: str) -> None:
    refused(opening * (limits.PIPELINE_BYTES_MAX // len(opening)))
    refused(opening * 10_000, yaml=False)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not valid JSON"),
        ('{"a": 1,\n"a": 2}', 'the key "a" stands here twice'),
        ('{"b": NaN}', "finite"),
        ("[-Infinity, 1e999]", "finite"),
        ("[18446744073709551616]", "64 bits"),
        ("9" * 10_000, "64 bits"),
        ('["\\u0000"]', "NUL"),
        ('["\\ud800"]', "surrogate"),
        ('{"\\ud800": 1}', "surrogate"),
        ("[" * 65 + "]" * 65, "levels deep"),
        ('"' + '\\"' * 100_000, "not valid JSON"),
        ("[1] 2", "not valid JSON"),
        ("[" + "1," * limits.YAML_NODES_MAX + "1]", "values"),
    ],
)
def test_json_is_held_to_the_same_rules(text: str, words: str) -> None:
    assert words in refused(text, yaml=False)[0].message


def test_json_says_the_line_of_a_syntax_error_and_the_place_of_others() -> None:
    assert refused('{"a": 1,\n "b": }', yaml=False)[0].line == 2
    assert refused('{"a": [1, {"x": 1, "x": 1}]}', yaml=False)[0].path == "a[1]"


def test_the_limits_themselves_are_allowed() -> None:
    deep = "[" * limits.YAML_DEPTH_MAX + "]" * limits.YAML_DEPTH_MAX
    assert read_json(deep.encode()).value == read_yaml(deep.encode()).value
    assert read_json(b'"[[[' + b"[" * 100 + b'"').value == "[[[" + "[" * 100


def test_too_many_bytes_and_no_utf_8_are_refused() -> None:
    assert "bytes" in refused(b" " * (limits.PIPELINE_BYTES_MAX + 1))[0].message
    problem = refused(b"a: 1\nb: \xff")[0]
    assert (problem.message, problem.line) == ("not valid UTF-8", 2)
    assert refused(b"\xff\xfea\0", yaml=False)[0].message == "not valid UTF-8"


@given(st.binary() | st.text(alphabet=" \n-:{}[]&*!<|>'\"#%@`,?a0.~\t").map(str.encode))
@example(b'"\\UFFFFFFFF"')
@example(b"%YAML 9.9\n--- a")
@example(b"! {}")
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    for read in (read_yaml, read_json):
        try:
            value = read(body).value
        except Invalid as error:
            messages = [problem.message for problem in error.problems]
        else:
            messages = [json.dumps(value, allow_nan=False)]
        assert messages
        assert all(messages)


@given(JSON_VALUES)
def test_json_reads_back_by_both_readers(value: Json) -> None:
    assert read_json(json.dumps(value, ensure_ascii=False).encode()).value == value
    # Escaped: YAML forbids some characters that JSON allows as they are, and folds line ends.
    assert read_json(json.dumps(value).encode()).value == value
