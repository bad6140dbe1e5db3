"""Owns what of a revision is shown with every job: names, stages, kinds; decoded once."""

import sqlite3

import msgspec

from control.model import limits
from store.queries import Statements

_SQL = Statements("views")


class JobOutline(msgspec.Struct, frozen=True):
    """What never changes of a job."""

    name: str
    stage: str
    kind: str
    version: str = ""
    retry_attempt: int = 0
    needs: tuple[str, ...] | None = None
    labels: tuple[str, ...] = ()


class Outline(msgspec.Struct, frozen=True):
    """What is shown of a revision."""

    stages: tuple[str, ...]
    jobs: tuple[JobOutline, ...]

    def counts(self, letters: str) -> list[tuple[str, dict[str, int]]]:
        """Per stage, in order: how many jobs have each letter."""
        found: dict[str, dict[str, int]] = {stage: {} for stage in self.stages}
        for job, letter in zip(self.jobs, letters, strict=True):
            stage = found[job.stage]
            stage[letter] = stage.get(letter, 0) + 1
        return list(found.items())


_DECODER = msgspec.json.Decoder(Outline)


class Outlines:
    """Revision id to outline. Revisions never change and their ids are never used again.

    Used by several reading threads: two may decode the same one, which does no harm.
    """

    def __init__(self) -> None:
        self._known: dict[int, Outline] = {}

    def get(self, conn: sqlite3.Connection, revision_id: int) -> Outline:
        """The outline of a revision that exists."""
        known = self._known.get(revision_id)
        if known is None:
            row = conn.execute(_SQL["outline"], (revision_id,)).fetchone()
            known = _DECODER.decode(row[0])
            if len(self._known) >= limits.OUTLINES_MAX:
                self._known.clear()
            self._known[revision_id] = known
        return known
