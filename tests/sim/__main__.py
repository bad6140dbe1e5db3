"""Runs many seeds: `python -m tests.sim --seeds 5000 --from 0 [--restores]`."""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.sim.simulation import Failed, simulate


def main() -> int:
    """Simulate one seed after the other; exit 1 when any has failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="how many")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first one")
    parser.add_argument("--restores", action="store_true", help="restore data in every seed")
    parser.add_argument("--directory", type=Path, help="where data are put; in memory is faster")
    asked = parser.parse_args()
    failed = []
    for seed in range(asked.first, asked.first + asked.seeds):
        with tempfile.TemporaryDirectory(dir=asked.directory) as directory:
            try:
                simulate(Path(directory), seed, restores=True if asked.restores else None)
            except Failed as failure:
                failed.append(seed)
                print(f"{failure}\nseed {seed} failed", flush=True)
        if (seed + 1 - asked.first) % 50 == 0:
            print(f"{seed + 1 - asked.first} seeds, failed: {failed}", flush=True)
    print(f"{asked.seeds} seeds from {asked.first}, failed: {failed}")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
