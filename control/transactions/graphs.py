"""Owns the graphs of the revisions in use: decoded once, then shared by all runs."""

from collections import OrderedDict

import msgspec

from control.core.runs.graph import Graph
from control.model.pipelines import Pipeline
from store import runs
from store.database.writer import Tx

_CACHED_JOBS_MAX = 50_000  # By jobs, not by revisions: one may have a single job or a thousand.


class Graphs:
    """Revision id to graph. Revisions never change, but one that is not committed never was: its
    id will be another's, so its graph is forgotten.

    Used inside the writer's transactions only, never by two at once.
    """

    def __init__(self) -> None:
        self._graphs: OrderedDict[int, Graph] = OrderedDict()
        self._jobs = 0

    def get(self, tx: Tx, revision_id: int) -> Graph:
        """The graph of a revision that exists."""
        graph = self._graphs.get(revision_id)
        if graph is None:
            definition, revision = runs.definition(tx.conn, revision_id)
            graph = Graph(msgspec.json.decode(definition, type=Pipeline), revision)
            self._graphs[revision_id] = graph
            self._jobs += len(graph.stage_of)
            tx.if_undone(lambda: self._forget(revision_id))
            while self._jobs > _CACHED_JOBS_MAX and len(self._graphs) > 1:
                self._forget(next(iter(self._graphs)))
        else:
            self._graphs.move_to_end(revision_id)
        return graph

    def _forget(self, revision_id: int) -> None:
        graph = self._graphs.pop(revision_id, None)
        if graph is not None:
            self._jobs -= len(graph.stage_of)
