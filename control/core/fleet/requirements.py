"""Decides why no connected worker can run a job: what it asks for, and what they have."""

from collections.abc import Iterable

from control.model.api.queues import NO_WORKER, NONE_CAN
from control.model.bus.messages import WorkerUp


def why_unfit(
    kind: str, version: str, labels: Iterable[str], workers: Iterable[WorkerUp]
) -> str | None:
    """In words; None: some worker can. One that takes nothing new now still can."""
    infos, wanted = list(workers), set(labels)
    if not infos:
        return NO_WORKER
    needs = f"{kind} {version}" + (f" with labels {', '.join(sorted(wanted))}" if wanted else "")
    with_kind = [info for info in infos if kind in dict(info.kinds)]
    fit = [info for info in with_kind if version in dict(info.kinds)[kind]]
    if any(wanted <= set(info.labels) for info in fit):
        return None
    reason = f"{NONE_CAN} {needs}"
    if not with_kind:
        return f"{reason}: 0 of {len(infos)} have the kind"
    if not fit:
        there = sorted({each for info in with_kind for each in dict(info.kinds)[kind]})
        return f"{reason}: they have {kind} {', '.join(there)}"
    missing = sorted(wanted - {label for info in fit for label in info.labels})
    if missing:
        what = "the label" if len(missing) == 1 else "the labels"
        return f"{reason}: 0 of {len(fit)} with the kind have {what} {', '.join(missing)}"
    return f"{reason}: 0 of {len(fit)} with the kind have all the labels"
