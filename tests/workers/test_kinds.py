"""Decides what every kind that comes with the worker must say about itself."""

import msgspec
import pytest

from control.model.kinds import installed_kinds

KINDS = installed_kinds()


@pytest.mark.parametrize("name", ["Shell", "Python", "HTTP", "Sleep"])
def test_a_kind_describes_its_params(name: str) -> None:
    kind = KINDS.get(name, "1.0.0")
    assert (kind.name, kind.version) == (name, "1.0.0")
    assert kind.summary
    schema = msgspec.json.schema(kind.params)
    definition = schema["$defs"][kind.params.__name__]
    assert definition["additionalProperties"] is False
    for param in definition["properties"].values():
        described = [param, *param.get("anyOf", ())]
        assert any("examples" in part for part in described)


@pytest.mark.parametrize(
    ("name", "required"),
    [("Shell", ["command"]), ("Python", ["call"]), ("HTTP", ["url"]), ("Sleep", ["seconds"])],
)
def test_required_params_are_the_contracts(name: str, required: list[str]) -> None:
    params = KINDS.get(name, "1.0.0").params
    assert msgspec.json.schema(params)["$defs"][params.__name__]["required"] == required
