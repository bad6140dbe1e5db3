"""Whatever is sent as a definition is taken or refused in words, and nothing else happens."""

import copy
import json
from collections.abc import Callable

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from control.core.pipelines.validate import parse_pipeline, pipeline_from_value
from control.model.errors import Invalid
from control.model.json_values import Json
from control.model.pipelines import JobSpec, Pipeline
from tests.core.pipelines.definition_samples import FULL, KINDS, check_schedule

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["a", "one", "Echo", "1.0.0", "${{ run.x }}", "${{ jobs.pull }}", "${{"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text() | st.sampled_from([*FULL, *JobSpec.__struct_fields__]), inner)
    ),
    max_leaves=10,
)


def accepted(value: object) -> Pipeline:
    return pipeline_from_value(value, kinds=KINDS, check_schedule=check_schedule)


def taken_or_refused(take: Callable[[], Pipeline]) -> None:
    try:
        taken = take()
    except Invalid as error:
        said = [problem.message for problem in error.problems]
    else:
        assert msgspec.json.decode(msgspec.json.encode(taken), type=Pipeline) == taken
        again = msgspec.json.decode(msgspec.json.encode(taken))
        assert accepted(again) == taken
        said = ["taken"]
    assert said
    assert all(said)


@given(JSON_VALUES)
def test_any_value_is_taken_or_refused(value: Json) -> None:
    taken_or_refused(lambda: accepted(value))


def places(value: Json) -> list[tuple[Json, str | int]]:
    """Every (holder, key or index) inside a value."""
    if isinstance(value, dict):
        found: list[tuple[Json, str | int]] = [(value, key) for key in value]
        return found + [place for item in value.values() for place in places(item)]
    if isinstance(value, list):
        found = [(value, index) for index in range(len(value))]
        return found + [place for item in value for place in places(item)]
    return []


@given(st.data())
def test_any_change_of_a_valid_pipeline_is_taken_or_refused(data: st.DataObject) -> None:
    value = copy.deepcopy(FULL)
    for _ in range(data.draw(st.integers(1, 3))):
        holder, key = data.draw(st.sampled_from(places(value)))
        if isinstance(holder, dict) and isinstance(key, str):
            if data.draw(st.booleans()):
                del holder[key]
            else:
                holder[data.draw(st.just(key) | st.text())] = data.draw(JSON_VALUES)
        elif isinstance(holder, list) and isinstance(key, int):
            holder[key] = data.draw(JSON_VALUES)
        if not value:
            break
    taken_or_refused(lambda: accepted(value))


@given(st.binary(max_size=30), st.integers(0, 2000), st.integers(0, 20), st.booleans())
def test_any_damage_to_a_file_is_taken_or_refused(
    inserted: bytes, at: int, removed: int, yaml: bool
) -> None:
    body = json.dumps(FULL, indent=1).encode()
    body = body[:at] + inserted + body[at + removed :]
    taken_or_refused(
        lambda: parse_pipeline(body, yaml=yaml, kinds=KINDS, check_schedule=check_schedule)
    )
