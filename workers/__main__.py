"""Owns `python -m workers`: the same as `tpworker`."""

from workers.cli import main

main()
