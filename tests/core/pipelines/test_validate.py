"""A definition is taken whole or refused with every problem, its place, and what would be right."""

import json
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.core.pipelines.needs import find_circles
from control.core.pipelines.validate import parse_pipeline, pipeline_from_value
from control.model import limits
from control.model.errors import Invalid, Problem
from control.model.json_values import Json
from control.model.kinds import KindRegistry
from control.model.pipelines import Pipeline
from tests.core.pipelines.definition_samples import FULL, KINDS, check_schedule, job, pipeline


def accepted(value: Json) -> Pipeline:
    return pipeline_from_value(value, kinds=KINDS, check_schedule=check_schedule)


def refused(value: object) -> dict[str, Problem]:
    """The problems by path; two at one path would hide each other, so that is a failure."""
    with pytest.raises(Invalid) as error:
        pipeline_from_value(value, kinds=KINDS, check_schedule=check_schedule)
    found = {problem.path: problem for problem in error.value.problems}
    assert len(found) == len(error.value.problems)
    return found


def test_a_full_definition_is_taken_and_versions_are_filled_in() -> None:
    taken = accepted(FULL)
    assert [spec.version for spec in taken.jobs] == ["1.0.0", "1.0.0", "1.9.0", "1.10.0"]
    assert taken.jobs[2].needs == ()
    assert taken.jobs[0].needs is None
    assert msgspec.json.decode(taken.schedules[0].input) == {"a": [1]}
    assert msgspec.json.decode(msgspec.json.encode(taken), type=Pipeline) == taken
    assert (
        parse_pipeline(
            json.dumps(FULL).encode(), yaml=False, kinds=KINDS, check_schedule=check_schedule
        )
        == taken
    )


def test_yaml_problems_carry_lines_in_order() -> None:
    text = """\
name: p
stages: [one]
jobs:
  - name: a
    stage: won
    kind: Eco
  - name: b
    stage: one
    kind: Echo
    comand: x
    params:
      command: x
      count: 99
"""
    with pytest.raises(Invalid) as error:
        parse_pipeline(text.encode(), yaml=True, kinds=KINDS, check_schedule=check_schedule)
    assert [(p.line, p.path, p.hint) for p in error.value.problems] == [
        (5, "jobs[0].stage", "did you mean one?"),
        (6, "jobs[0].kind", "did you mean Echo?"),
        (
            10,
            "jobs[1].comand",
            "one of: name, stage, kind, version, priority, params, "
            "retry_attempt, retry_delay, retry_delay_max, allow_failure, timeout, needs, …",
        ),
        (13, "jobs[1].params.count", None),
    ]


@pytest.mark.parametrize(
    ("fields", "path", "words"),
    [
        ({"nam": "x"}, "nam", "unknown field"),
        ({"name": "P"}, "name", "does not match"),
        ({"name": "p\n"}, "name", "does not match"),
        ({"name": None}, "name", "expected text, found null"),
        ({"stages": []}, "stages", "must not be empty"),
        ({"stages": ["one", "one"]}, "stages[1]", "listed twice, first as stages[0]"),
        ({"stages": ["one", " two"]}, "stages[1]", "does not match"),
        ({"stages": ["one", 2]}, "stages[1]", "expected text, found 2"),
        ({"jobs": []}, "jobs", "must not be empty"),
        ({"jobs": {}}, "jobs", "expected a list, found an object"),
        ({"jobs": [1]}, "jobs[0]", "expected an object, found 1"),
        ({"priority": True}, "priority", "expected a whole number, found true"),
        ({"priority": 10**7}, "priority", "at most"),
        ({"timeout": "1h"}, "timeout", "expected a number"),
        ({"timeout": 0}, "timeout", "more than 0"),
        ({"description": "x" * 5000}, "description", "5000 characters, at most 4096"),
        ({"schedules": [{}]}, "schedules[0].cron", "required, but missing"),
        ({"schedules": [{"cron": "*"}]}, "schedules[0].cron", "five fields"),
        (
            {"schedules": [{"cron": "* * * * *", "input": "\x01" * 200_000}]},
            "schedules[0].input",
            "bytes of JSON",
        ),
        (
            {"schedules": [{"cron": "* * * * *", "timezone": "Mars"}]},
            "schedules[0].timezone",
            "unknown",
        ),
        (
            {"schedules": [{"cron": "* * * * *", "overlap": "skp"}]},
            "schedules[0].overlap",
            '"skp" is none of: allow, skip, queue, replace',
        ),
        ({"triggers": [{"pipeline": "p"}]}, "triggers[0].pipeline", "cannot trigger itself"),
        ({"triggers": [{"pipeline": "q"}] * 2}, "triggers[1]", "triggered twice"),
        ({"stages": ["one", *(str(n) for n in range(100))]}, "stages", "at most 100"),
    ],
)
def test_what_is_wrong_with_a_pipeline(fields: dict[str, Json], path: str, words: str) -> None:
    problems = refused(pipeline() | fields)
    assert set(problems) == {path}
    assert words in problems[path].message


@pytest.mark.parametrize(
    ("fields", "path", "words"),
    [
        ({"name": "ä"}, "name", "does not match"),
        ({"stage": "three"}, "stage", "not defined"),
        ({"kind": "echo"}, "kind", "no kind"),
        ({"kind": 1}, "kind", "expected text"),
        ({"version": "2.0.0"}, "version", "Echo has no version 2.0.0"),
        ({"version": "1.0"}, "version", '"1.0" is no version'),
        ({"version": 1.0}, "version", "expected text, found 1.0"),
        ({"needs": ["b"]}, "needs[0]", 'no job "b"'),
        ({"needs": ["a"]}, "needs[0]", "wait for itself"),
        ({"needs": ["z"]}, "needs[0]", "later stage"),
        ({"needs": "b"}, "needs", "expected a list"),
        ({"labels": ["a b"]}, "labels[0]", "does not match"),
        ({"env": {"A-B": "x"}}, "env.A-B", "does not match"),
        ({"env": {"A": 1}}, "env.A", "expected text, found 1"),
        ({"env": {"A": "${{ x }}"}}, "env.A", "cannot read the template"),
        ({"env": {"A": "${{ jobs.zz }}"}}, "env.A", 'names the job "zz", which does not exist'),
        ({"env": {"A": "${{ jobs.z }}"}}, "env.A", "does not wait"),
        ({"allow_failure": "yes"}, "allow_failure", "expected true or false"),
        ({"retry_attempt": -1}, "retry_attempt", "at least 0"),
        ({"retry_delay": 2, "retry_delay_max": 1}, "retry_delay_max", "less than retry_delay"),
        ({"when": "never"}, "when", "none of"),
        ({"params": []}, "params", "expected an object"),
        ({"params": {}}, "params.command", "required"),
        ({"params": {"command": "forbidden"}}, "params", "this command is forbidden"),
    ],
)
def test_what_is_wrong_with_a_job(fields: dict[str, Json], path: str, words: str) -> None:
    problems = refused(pipeline(job() | fields, job("z", stage="two")))
    assert set(problems) == {f"jobs[0].{path}"}
    assert words in problems[f"jobs[0].{path}"].message


@pytest.mark.parametrize(
    ("field", "value", "place", "words"),
    [
        ("command", 1, "", "expected text or a list, found 1"),
        ("command", ["x", 1], "[1]", "expected text"),
        ("count", "3", "", "expected a whole number"),
        ("count", 0, "", "at least 1"),
        ("count", "n${{ run.n }}", "", "expected a whole number"),
        ("ratio", 1, "", "less than 1"),
        ("ratio", 0.0, "", "more than 0"),
        ("flag", "on", "", "expected true or false"),
        ("mode", "fats", "", "none of: fast, slow"),
        ("headers", {"a": 1}, ".a", "expected text"),
        ("headers", None, "", "expected an object, found null"),
        ("codes", 200, "", "expected a list"),
        ("codes", [200, "x"], "[1]", "expected a whole number"),
        ("pair", [1], "", "expected 2 items, found 1"),
        ("pair", ["x", "y"], "[0]", "expected a whole number"),
        ("name", "A", "", "does not match"),
        ("name", "abcdef", "", "6 characters, at most 5"),
        ("step", 7, "", "multiple of 5"),
    ],
)
def test_what_is_wrong_with_params(field: str, value: Json, place: str, words: str) -> None:
    problems = refused(pipeline(job(params={"command": "x", field: value})))
    path = f"jobs[0].params.{field}{place}"
    assert set(problems) == {path}
    assert words in problems[path].message


def test_a_whole_template_stands_for_any_type_and_a_text_with_one_for_text() -> None:
    whole = "${{ run.x }}"
    params: dict[str, Json] = dict.fromkeys(
        ("command", "count", "ratio", "flag", "mode", "headers", "pair", "name", "body"), whole
    )
    params |= {"codes": [200, whole], "name": "A ${{ run.long_name }}"}
    assert accepted(pipeline(job(params=params))).jobs[0].name == "a"
    problems = refused(pipeline(job(params=params | {"cound": 1, "step": 7})))
    assert set(problems) == {"jobs[0].params.cound", "jobs[0].params.step"}


def test_a_template_may_name_only_what_the_job_waits_for() -> None:
    text: Json = {"command": "${{ jobs.a.x }}"}
    accepted(pipeline(job(), job("b", stage="two", params=text)))
    accepted(pipeline(job(), job("b", needs=["a"], params=text)))
    problems = refused(pipeline(job(), job("c"), job("b", stage="two", needs=["c"], params=text)))
    assert problems["jobs[2].params.command"].hint == "it may name: c; jobs in needs are waited for"
    problems = refused(pipeline(job(), job("b", params=text)))
    assert "waits for no other job" in (problems["jobs[1].params.command"].hint or "")


def test_a_circle_is_named() -> None:
    jobs = [job("a", needs=["c"]), job("b", needs=["a"]), job("c", needs=["b"]), job("d")]
    problems = refused(pipeline(*jobs))
    assert "a -> c -> b -> a" in problems["jobs[0].needs"].message


def test_duplicate_names_and_needs_are_refused() -> None:
    problems = refused(pipeline(job(), job("b", needs=["a", "a"]), job()))
    assert set(problems) == {"jobs[1].needs[1]", "jobs[2].name"}


def test_versions_are_ordered_as_numbers_and_listed() -> None:
    problems = refused(pipeline(job(kind="K8S/Noop", version="3.0.0")))
    assert problems["jobs[0].version"].hint == "available: 1.9.0, 1.10.0"
    nothing = KindRegistry({})
    with pytest.raises(Invalid) as error:
        pipeline_from_value(pipeline(), kinds=nothing, check_schedule=check_schedule)
    assert error.value.problems[0].hint == "no kinds are installed here"


def test_paths_start_where_the_pipeline_stands_in_the_request() -> None:
    value = pipeline(job(stage="x"), stages=["one", "one"])
    with pytest.raises(Invalid) as error:
        pipeline_from_value(value, kinds=KINDS, check_schedule=check_schedule, path=("pipeline",))
    paths = {problem.path for problem in error.value.problems}
    assert paths == {"pipeline.stages[1]", "pipeline.jobs[0].stage"}


def test_what_is_no_json_object_is_refused() -> None:
    values: tuple[object, ...] = (
        None,
        [],
        "x",
        1,
        {1: 2},
        {"a": {1}},
        {"name": float("nan")},
        {"a": "\0"},
    )
    for value in values:
        assert refused(value)
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert refused({"name": deep})
    while deep and isinstance(deep[0], list):
        deep = deep[0]  # Taken apart, since freeing it in one go would use the stack.


def test_problems_are_capped_and_long_texts_cut() -> None:
    long = "x" * 20_000
    with pytest.raises(Invalid) as error:
        accepted(pipeline(*[job() | {long: 1} for _ in range(50)]))
    assert len(msgspec.json.encode(error.value.problems)) < 100_000
    jobs = [job(f"job-{n}", kind="Eco", needs=["nobody"]) for n in range(limits.PIPELINE_JOBS_MAX)]
    with pytest.raises(Invalid) as error:
        accepted(pipeline(*jobs))
    assert len(error.value.problems) == limits.PROBLEMS_MAX + 1
    assert "only the first" in error.value.problems[-1].message


def test_a_long_chain_of_needs_is_no_matter_for_the_stack() -> None:
    jobs = [job("j0")]
    jobs += [job(f"j{n}", needs=[f"j{n - 1}"]) for n in range(1, limits.PIPELINE_JOBS_MAX)]
    assert len(accepted(pipeline(*jobs)).jobs) == limits.PIPELINE_JOBS_MAX
    jobs[0]["needs"] = [f"j{limits.PIPELINE_JOBS_MAX - 1}"]
    assert len(refused(pipeline(*jobs))["jobs[0].needs"].message) < 1000


@given(st.dictionaries(st.sampled_from("abcdef"), st.lists(st.sampled_from("abcdefg"), max_size=4)))
def test_circles_are_circles_and_found_when_there_are_any(needs: dict[str, list[str]]) -> None:
    circles = find_circles(needs)
    for circle in circles:
        assert circle[0] == circle[-1]
        assert all(after in needs[before] for before, after in pairwise(circle))
    rest = {name: {other for other in needs[name] if other in needs} for name in needs}
    while free := [name for name, waits in rest.items() if not waits]:
        for name in free:
            del rest[name]
        for waits in rest.values():
            waits.difference_update(free)
    assert bool(circles) == bool(rest)


@pytest.mark.parametrize("written", ["0644", "1.10", "007", "1e3", "0x1F", "True", "12:30", "5"])
def test_a_hint_keeps_what_is_written(written: str) -> None:
    body = f"""
name: p
stages: [a]
jobs:
  - {{name: j, stage: a, kind: K8S/Noop, env: {{MODE: {written}}}}}
"""
    try:
        parse_pipeline(body.encode(), yaml=True, kinds=KINDS, check_schedule=lambda *_: ())
    except Invalid as error:
        (problem,) = error.problems
        assert problem.hint == f'put it in quotes: "{written}"'
    else:
        assert written == "12:30"  # Text in YAML 1.2.
