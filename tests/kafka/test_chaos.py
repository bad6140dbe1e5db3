"""Decides that a part that breaks loses and doubles nothing (bench/chaos.py, a round a fault)."""

import random
from pathlib import Path

import pytest

from bench.chaos import Chaos, ChaosFault
from bench.servers.broker import Broker
from bench.servers.fleet import KafkaFleet

pytestmark = [pytest.mark.kafka, pytest.mark.e2e, pytest.mark.slow]

FAULTS = [
    ChaosFault.DISPATCHER_KILLED,
    ChaosFault.BALANCER_KILLED,
    ChaosFault.HOST_KILLED,
    ChaosFault.DISPATCHER_PAUSED,
    ChaosFault.BROKER_KILLED,
]


def test_no_fault_loses_or_doubles_anything(
    own_broker: Broker, prefix: str, tmp_path: Path
) -> None:
    with KafkaFleet(tmp_path / "fleet", own_broker.address, prefix, workers=3, slots=4) as fleet:
        chaos = Chaos(own_broker, fleet, random.Random(1))
        for fault in FAULTS:  # One after the other: what one leaves behind, the next would hit.
            assert chaos.round(fault, 100).problems == []
