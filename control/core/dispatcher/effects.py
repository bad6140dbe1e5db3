"""Owns what a dispatcher's decisions ask of its shell: what to publish, to finish, and to send."""

from collections import defaultdict

from control.model.bus.messages import Message
from control.model.bus.records import Record
from control.model.names import Topic
from control.model.worker import wire


class StepEffects:
    """What the shell must do after a step: publish (with receipts), then send."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.receipts: list[int] = []  # Places of `Placed` records that are answered for.
        self.frames: defaultdict[str, list[wire.ToWorker]] = defaultdict(list)
        self.acks: defaultdict[str, list[wire.Lease]] = defaultdict(list)  # After the commit.
        self.recovered = False  # A lease that was given out earlier was found again.

    def event(self, message: Message, key: int) -> None:
        """Tell the state's owner what happened to an attempt."""
        self.records.append(Record(Topic.TASK_RUN_EVENTS, message, key))

    def news(self, message: Message) -> None:
        """Tell the other parts about this dispatcher and its workers."""
        self.records.append(Record(Topic.TASK_NEWS, message))
