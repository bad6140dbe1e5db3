"""Decides that the AsyncAPI document is of this version, and that its schemas hold."""

from pathlib import Path

import jsonschema_rs
import msgspec
from hypothesis import given

from control.bus.asyncapi import as_text, document
from control.core.records.foreign import CARRIES, Foreign, read
from control.core.records.headers import headers_of
from control.model.bus.messages import ENCODER
from control.model.names import Topic
from tests.core.records.foreign_messages import Sample, well_formed

DOCS = Path(__file__).parents[3] / "docs" / "asyncapi.json"
DOCUMENT = msgspec.json.decode(as_text())
MESSAGES = DOCUMENT["components"]["messages"]


def validator(payload: object) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(
        {"allOf": [payload], "components": DOCUMENT["components"]}
    )


VALIDATORS = {name: validator(message["payload"]) for name, message in MESSAGES.items()}


def test_the_file_is_of_this_version() -> None:
    assert DOCS.read_text("utf-8") == as_text(), (
        "python -m control.bus.asyncapi > docs/asyncapi.json"
    )


def test_every_reference_leads_somewhere() -> None:
    def follow(value: object) -> None:
        if isinstance(value, dict):
            if isinstance(reference := value.get("$ref"), str):
                found: object = DOCUMENT
                for step in reference.removeprefix("#/").split("/"):
                    assert isinstance(found, dict)
                    found = found[step]
            for each in value.values():
                follow(each)
        elif isinstance(value, list):
            for each in value:
                follow(each)

    follow(document())
    assert {*DOCUMENT["channels"]} == {topic.value for topic in CARRIES} == {*Topic}


@given(sample=well_formed())
def test_what_is_written_fits_its_schema(sample: Sample) -> None:
    topic, value = sample
    try:
        message = read(topic, value)
    except Foreign:
        return
    name = str(message.__struct_config__.tag)
    assert name in DOCUMENT["channels"][topic]["messages"]
    VALIDATORS[name].validate(msgspec.json.decode(ENCODER.encode(message)))
    headers = {key: None for key, _ in headers_of(message)}
    assert headers.keys() == MESSAGES[name]["headers"]["properties"].keys()


def test_the_details_of_a_kind_have_a_schema() -> None:
    found = VALIDATORS[Topic.QUERY_TASK_RUN_RESULTS]
    assert not found.is_valid({"type": "finished", "details": {"connection": 5}})
    names = DOCUMENT["components"]["schemas"]["QueryDetails"]["properties"]
    assert {"connection", "statement", "columns", "row_count", "rows", "truncated"} <= {*names}
