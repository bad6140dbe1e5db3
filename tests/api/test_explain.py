"""Checks the words in which it is told how a job stands at the balancer."""

import msgspec
import pytest

from control.api.explain import standing
from control.model.api.balancer import Waits
from control.model.states import Speed
from tests.api.serving import NOW_MS, waits_for

WAITS = msgspec.structs.replace(waits_for("no free slot"), at_least=False)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, "37 jobs come before it"),
        ({"at_least": True}, "at least 37 jobs come before it"),
        ({"ahead": 1}, "1 job comes before it"),
        ({"ahead": 0}, "no job comes before it"),
        ({"refused": None, "refused_ms": None}, "the balancer has not come to it yet"),
        ({"refused_ms": NOW_MS}, "refused at 2026-11-18T11:06:40.000Z: no free slot"),
        ({"sent_ahead": True}, "so short that it may be sent ahead, to wait at a worker"),
        ({"speed": Speed.SLOW, "expected_s": 90.0}, "expected to take 90 s: slow"),
        (
            {"known": False, "speed": Speed.SLOW, "expected_s": 30.0},
            "nothing is known of it yet; taken for 30 s: slow",
        ),
    ],
)
def test_each_record_has_its_words(change: dict[str, object], said: str) -> None:
    waits: Waits = msgspec.structs.replace(WAITS, **change)
    assert any(step.startswith(said) for step in standing(waits)), standing(waits)


def test_what_may_be_more_than_none_is_not_counted() -> None:
    waits = msgspec.structs.replace(WAITS, ahead=0, at_least=True)
    assert not any("before it" in step for step in standing(waits))
