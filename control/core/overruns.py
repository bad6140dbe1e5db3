"""Decides what is called back from a worker whose running jobs take longer than was expected."""

from control.core.holdings import Link
from control.core.outbox import Outbox
from control.model import wire
from control.model.messages import Overran


def call_back(name: str, link: Link, late_ms: int, out: Outbox) -> None:
    """Call back what has waited since `late_ms` behind running jobs, and tell of those."""
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
