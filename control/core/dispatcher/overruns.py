"""Decides what a worker is asked to give back when its jobs overrun."""

from control.core.dispatcher.effects import StepEffects
from control.core.dispatcher.lease_table import WorkerConnection
from control.model.bus.messages import Overran
from control.model.worker import wire


def call_back(name: str, link: WorkerConnection, late_ms: int, out: StepEffects) -> None:
    """Take back what waits at a worker behind jobs that take far longer than expected.

    `late_ms`: what was placed there before that has waited too long.
    """
    if len(link.holds) <= link.info.slots:
        return
    late = [
        held
        for held in link.holds.values()
        if held.started_ms is None and held.since_ms <= late_ms and not held.overrun
    ]
    if not late:
        return
    for held in late:
        held.overrun = True
    out.frames[name].append(wire.TakeBack(leases=tuple(held.lease for held in late)))
    running = [held for held in link.holds.values() if held.started_ms is not None]
    job_ids = tuple(held.lease.job_id for held in running)
    out.news(Overran(worker=name, job_ids=job_ids))
