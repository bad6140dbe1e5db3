"""Decides who has a worker's name: one process of one client, for as long as it lives.

A process that comes back (the same instance of the same client) has its name at once. Another
one of that client waits until it is known whether the first still lives: what it says proves it,
being silent for `limits.QUIET_S` disproves it. Heartbeats come more often, so this takes no
longer. A worker of another client never gets the name while it is taken, nor while leases wait
for their worker to come back.
"""

from collections.abc import Iterable

import msgspec

from control.core.dispatcher.claims import is_foreign
from control.core.dispatcher.leases import Leases
from control.model import limits
from control.model.bus.messages import DispatcherUp, Message, WorkerUp


class Admitted(msgspec.Struct, frozen=True):
    """It has the name now."""


class NamePending(msgspec.Struct, frozen=True):
    """It is to be decided soon. `ask`: other dispatchers must say whether they have the name."""

    ask: bool = False


class NameRefusal(msgspec.Struct, frozen=True):
    """It may not connect under this name, and why."""

    reason: str


Verdict = Admitted | NamePending | NameRefusal


class _Applicant(msgspec.Struct):
    """A worker that waits for its name."""

    client: str
    instance: str
    until_ms: int | None  # Decided then, if another dispatcher has the name; None: it is here.
    confirmed: bool = False  # Its dispatcher has announced it since.


class Admissions:
    """Those who connect to one dispatcher under a name that may be taken."""

    def __init__(self, leases: Leases) -> None:
        self._leases = leases
        self._waiting: dict[str, _Applicant] = {}

    def apply(
        self, worker: str, client: str, instance: str, *, now_ms: int, quiet: bool
    ) -> Verdict:
        """A worker connects. `quiet`: the one of this name that is here says nothing."""
        waiting = self._waiting.get(worker)
        if waiting is not None and (client, instance) != (waiting.client, waiting.instance):
            return NameRefusal(f"another worker that calls itself {worker} is connecting right now")
        incumbent = self._incumbent(worker)
        if incumbent is None:
            owners = self._leases.holdings.owners_of(worker)
            if any(is_foreign(client, owner) for owner in owners):
                return NameRefusal(_foreign(worker))
        elif is_foreign(client, incumbent.client):
            return NameRefusal(_foreign(worker))
        elif not self._is_free(incumbent, instance, quiet=quiet):
            here = incumbent.dispatcher == self._leases.name
            until_ms = None if here else now_ms + _ANSWER_MS
            self._waiting[worker] = _Applicant(client, instance, until_ms)
            return NamePending(ask=not here)
        self._waiting.pop(worker, None)
        return Admitted()

    def withdraw(self, worker: str) -> None:
        """Who waited for this name waits no more."""
        self._waiting.pop(worker, None)

    def message_received(self, worker: str) -> NameRefusal | None:
        """The worker that is here said something; the refusal of who waits for its name."""
        applicant = self._waiting.get(worker)
        incumbent = self._leases.links.get(worker)
        if applicant is None or applicant.until_ms is not None or incumbent is None:
            return None
        del self._waiting[worker]
        return NameRefusal(_alive(incumbent.info))

    def apply_announcement(self, message: Message) -> None:
        """Record which workers another dispatcher reports."""
        if not self._waiting:
            return
        up: Iterable[WorkerUp] = ()
        if isinstance(message, WorkerUp):
            up = (message,)
        elif isinstance(message, DispatcherUp):
            up = message.workers
        for info in up:
            applicant = self._waiting.get(info.worker)
            if applicant is not None and info.dispatcher != self._leases.name:
                applicant.confirmed = True

    def due(self, now_ms: int) -> list[tuple[str, Verdict]]:
        """Who waits no longer, because the name is free, or its time to be decided has come."""
        found: list[tuple[str, Verdict]] = []
        for worker, applicant in list(self._waiting.items()):
            incumbent = self._incumbent(worker)
            verdict: Verdict = Admitted()
            if incumbent is not None and not self._is_free(incumbent, applicant.instance):
                here = incumbent.dispatcher == self._leases.name
                if applicant.until_ms is None and not here:  # It went there meanwhile.
                    applicant.until_ms = now_ms + _ANSWER_MS
                if applicant.until_ms is None or now_ms < applicant.until_ms:
                    continue
                if here or applicant.confirmed:  # Else that dispatcher is gone.
                    verdict = NameRefusal(_alive(incumbent))
            del self._waiting[worker]
            found.append((worker, verdict))
        return found

    def next_ms(self) -> int | None:
        """When to call `due` next; None: not before something happens."""
        times = [each.until_ms for each in self._waiting.values() if each.until_ms is not None]
        return min(times, default=None)

    def _incumbent(self, worker: str) -> WorkerUp | None:
        """Who has the name: a worker here, or at another dispatcher."""
        link = self._leases.links.get(worker)
        return self._leases.peers.worker(worker) if link is None else link.info

    def _is_free(self, incumbent: WorkerUp, instance: str, *, quiet: bool = False) -> bool:
        if instance and instance == incumbent.instance:
            return True  # The same process, by another connection.
        if incumbent.dispatcher == self._leases.name:
            return quiet
        return self._leases.peers.is_quiet(incumbent)


def _foreign(worker: str) -> str:
    return (
        f"the name {worker} is in use by a worker of another client; give this worker another "
        "name (--name)"
    )


def _alive(incumbent: WorkerUp) -> str:
    return (
        f"a worker with the name {incumbent.worker} is connected already, from "
        f"{incumbent.host or 'an unnamed host'}; give this worker another name (--name), or stop "
        "that one first"
    )


_ANSWER_MS = round((limits.QUIET_S + limits.ANSWER_S) * 1000)
