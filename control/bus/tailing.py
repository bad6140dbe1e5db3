"""Owns how a service follows a topic for as long as it lives, whatever it misses meanwhile.

A tail ends when its reader has fallen behind, or its topic was replaced. There is one way on: read
the topic from now on, then ask again for what was missed.
"""

from collections.abc import Awaitable, Callable

import structlog

from control.bus.interface import Bus, Subscription
from control.model.bus.messages import Message
from control.model.errors import BusUnavailable
from control.model.names import Topic

LOG = structlog.get_logger("bus")


class Followed:
    """A topic's messages from some moment on. `follow` makes it."""

    def __init__(
        self,
        bus: Bus,
        topic: Topic,
        reader: str,
        subscription: Subscription,
        *,
        on_loss: Callable[[], None] | None,
        on_gap: Callable[[], Awaitable[None]] | None,
    ) -> None:
        self._bus = bus
        self._topic = topic
        self._event = f"{reader}.gap"
        self._subscription = subscription
        self._on_loss = on_loss
        self._on_gap = on_gap

    async def receive(self) -> list[Message]:
        """Wait for messages; at least one. A gap is over before this returns."""
        while True:
            try:
                return [delivery.message for delivery in await self._subscription.receive()]
            except BusUnavailable as error:
                LOG.warning(self._event, topic=self._topic, reason=str(error))
            if self._on_loss is not None:
                self._on_loss()
            self._subscription = await self._bus.tail(self._topic)
            if self._on_gap is not None:
                await self._on_gap()


async def follow(
    bus: Bus,
    topic: Topic,
    reader: str,
    on_gap: Callable[[], Awaitable[None]] | None,
    on_loss: Callable[[], None] | None = None,
) -> Followed:
    """Follow a topic from now on: what is published after this returns is received.

    When messages were missed, `on_loss` is called at once (what is known may be old), and `on_gap`
    when the topic is read again, so that answers to what it asks for are received. None: what was
    missed is never asked for. `reader`: the name that the log has for who follows.
    """
    return Followed(bus, topic, reader, await bus.tail(topic), on_loss=on_loss, on_gap=on_gap)
