"""Owns the order of keys: each is handled to its end before the next one is looked at.

Textual forwards a key to whatever has the focus when it arrives; what an earlier key changes (a
prompt that opens, a dialog) comes later, through the message queues. Keys of a burst, typed ahead
or pasted, would all reach the view that was in front when the burst began.
"""

from collections import deque
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary

from textual import events
from textual.app import App
from textual.message import Message
from textual.screen import Screen
from textual.widget import Widget

R = TypeVar("R")
_WAITING_MAX: Final = 1_000  # Keys typed ahead; more are dropped.
# How often a message has to follow the widget's own before all that a key leads to has happened:
# a key is a binding's action, that submits an input, that is a command, that changes the focus.
_ROUNDS: Final = 4
_LEAVE: Final = "escape"


class Question(Screen[R]):
    """A screen whose keys change something: what was typed before it was drawn is no answer."""


class Handled(Message):
    """Marker posted after a key, which shows that the widget has processed the key."""

    def __init__(self, target: Widget, rounds: int) -> None:
        super().__init__()
        self.target = target
        self.rounds = rounds


class OrderlyKeys(App[R]):
    """An app that dispatches one key at a time, and none before the screen in front is drawn."""

    def __init__(self) -> None:
        super().__init__()
        self._typed_ahead: deque[events.Key] = deque()
        self._handling: Widget | None = None  # The widget that has the last key.
        self._drawn: WeakKeyDictionary[Screen[Any], bool] = WeakKeyDictionary()

    @property
    def takes_keys(self) -> bool:
        """Whether a key that comes now is dispatched at once: the screen in front is drawn."""
        idle = not self._typed_ahead and self._handling is None
        return idle and bool(self.screen_stack) and self._is_drawn(self.screen)

    async def on_event(self, event: events.Event) -> None:
        """Queue a key that was typed; anything else goes its way."""
        if not isinstance(event, events.Key):
            await super().on_event(event)
        elif not self.screen_stack:
            return  # It ends: there is nothing left that could have the key.
        elif event.is_forwarded:
            await super().on_event(event)
        elif len(self._typed_ahead) < _WAITING_MAX:
            self._typed_ahead.append(event)
            await self.dispatch_keys()

    async def dispatch_keys(self) -> None:
        """Dispatch what was typed, as far as it can be.

        Also called by a timer: a widget that is removed while it handles a key reports nothing.
        """
        if not self.screen_stack:
            return
        if self._handling is not None and not self._handling.is_attached:
            self._handling = None
        while self._typed_ahead and self._handling is None and self._is_drawn(self.screen):
            event = self._typed_ahead.popleft()
            target = self.focused or self.screen
            self._handling = target
            await super().on_event(event)
            if not event.is_forwarded or not target.post_message(Handled(target, _ROUNDS)):
                self._handling = None

    async def on_handled(self, message: Handled) -> None:
        """Go on with the next key when all that the last one led to has happened."""
        message.stop()
        if message.target is not self._handling:
            return
        if message.rounds and message.target.is_attached:
            message.target.post_message(Handled(message.target, message.rounds - 1))
            return
        self._handling = None
        await self.dispatch_keys()

    def _is_drawn(self, screen: Screen[Any]) -> bool:
        if screen not in self._drawn:
            self._drawn[screen] = not screen.call_after_refresh(self._note_drawn, screen)
        return self._drawn[screen]

    def _note_drawn(self, screen: Screen[Any]) -> None:
        # In the app's own queue, behind the keys that were typed until now.
        self.call_later(self._begin, screen)

    async def _begin(self, screen: Screen[Any]) -> None:
        self._drawn[screen] = True
        if isinstance(screen, Question):
            leaves = [key for key in self._typed_ahead if key.key == _LEAVE]
            self._typed_ahead.clear()
            self._typed_ahead.extend(leaves[:1])  # That changes nothing.
        await self.dispatch_keys()
