"""Decides that a part that breaks loses and doubles nothing (bench/chaos.py, a round a fault)."""

import random
from pathlib import Path

import pytest

from bench.chaos import Chaos, Fault
from bench.servers.broker import Broker
from bench.servers.fleet import Fleet

pytestmark = [pytest.mark.kafka, pytest.mark.e2e, pytest.mark.slow]

FAULTS = [
    Fault.DISPATCHER_KILLED,
    Fault.BALANCER_KILLED,
    Fault.HOST_KILLED,
    Fault.DISPATCHER_PAUSED,
    Fault.BROKER_KILLED,
]


def test_no_fault_loses_or_doubles_anything(
    own_broker: Broker, prefix: str, tmp_path: Path
) -> None:
    with Fleet(tmp_path / "fleet", own_broker.address, prefix, workers=3, slots=4) as fleet:
        chaos = Chaos(own_broker, fleet, random.Random(1))
        for fault in FAULTS:  # One after the other: what one leaves behind, the next would hit.
            assert chaos.round(fault, 100).problems == []
