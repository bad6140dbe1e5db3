"""Owns the graphs of the revisions in use: decoded once, then shared by all runs."""

import sqlite3
from collections import OrderedDict

import msgspec

from control.core.graph import Graph
from control.model.pipelines import Pipeline
from store import runs

_CACHED_JOBS_MAX = 50_000  # By jobs, not by revisions: one may have a single job or a thousand.


class Graphs:
    """Revision id to graph. Revisions never change, so nothing here can be stale.

    Used inside the writer's transactions only, never by two at once.
    """

    def __init__(self) -> None:
        self._graphs: OrderedDict[int, Graph] = OrderedDict()
        self._jobs = 0

    def get(self, conn: sqlite3.Connection, revision_id: int) -> Graph:
        """The graph of a revision that exists."""
        graph = self._graphs.get(revision_id)
        if graph is None:
            definition = runs.definition(conn, revision_id)
            graph = Graph(msgspec.json.decode(definition, type=Pipeline))
            self._graphs[revision_id] = graph
            self._jobs += len(graph.stage_of)
            while self._jobs > _CACHED_JOBS_MAX and len(self._graphs) > 1:
                _, oldest = self._graphs.popitem(last=False)
                self._jobs -= len(oldest.stage_of)
        else:
            self._graphs.move_to_end(revision_id)
        return graph
