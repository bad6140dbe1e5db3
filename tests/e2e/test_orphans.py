"""Decides that kill -9 leaves no process of a job, nor two attempts at once (bench/orphans.py)."""

import random
import sys
from pathlib import Path

import pytest

from bench.orphans import KilledPart, OrphanSite, one_round

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="guards need Linux"),
]


def test_no_process_outlives_its_attempt_when_all_is_killed(tmp_path: Path) -> None:
    site = OrphanSite(tmp_path, slots=2)
    with site.running():
        assert not one_round(site, KilledPart.BOTH, runs=8, chance=random.Random(1)).problems
