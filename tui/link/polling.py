"""Owns what is asked over REST again and again: only what the screen in front shows.

What changes by itself comes with the events; the rest (statistics, schedules, queues) is asked
for as often as it is worth, and never twice at once.
"""

import asyncio
import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from tui.core.store import FetchedAnswer, Store
from tui.link.source import LinkError, RequestRefused, Source, decoded

_TURN_S: Final = 0.2


class PolledCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call whose answer is kept in the store under `key`.

    `every_s`: how often it is asked while its screen is in front. `took`: told of each answer.
    `pages`: of a list, as many pages are asked for and put together.
    """

    key: str
    path: str
    shape: Any
    query: Mapping[str, str] = {}
    every_s: float = 5.0
    took: Callable[[Any], None] | None = None
    pages: int = 1


class Asker:
    """Asks what is due, one question after the other."""

    def __init__(self, source: Source, store: Store, now_ms: Callable[[], int]) -> None:
        self._source = source
        self._store = store
        self._now_ms = now_ms
        self._wanted: list[PolledCall] = []
        self._asked: dict[str, tuple[PolledCall, int]] = {}  # When each was asked last, and how.
        self._turned_s: dict[str, float] = {}  # When it was asked of another object than before.
        self._changed = asyncio.Event()

    def want(self, questions: list[PolledCall]) -> None:
        """From now on these are asked, the longest due first; what comes back is due at once."""
        for key in self._asked.keys() - {question.key for question in questions}:
            del self._asked[key]
        for question in questions:
            known = self._store.answers.get(question.key)
            if known is not None and known.of not in {None, _call(question)}:
                del self._store.answers[question.key]  # It is of another object.
        if questions != self._wanted:
            self._wanted = questions
            self._changed.set()

    def again(self) -> None:
        """All of them are due now."""
        self._asked.clear()
        self._changed.set()

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            self._changed.clear()
            question, wait_s = self._next()
            if question is not None and wait_s <= 0:
                if self._is_of_another(question):
                    self._turned_s[question.key] = asyncio.get_running_loop().time()
                self._asked[question.key] = (question, self._now_ms())
                await self._ask(question)
                continue
            try:
                async with asyncio.timeout(wait_s if question is not None else None):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def _next(self) -> tuple[PolledCall | None, float]:
        """What is due first, and in how many seconds; nothing while there is no link."""
        if self._store.link.state != "live":
            return None, 0.0
        found: tuple[PolledCall | None, float] = (None, 0.0)
        now_ms = self._now_ms()
        for question in self._wanted:
            asked = self._asked.get(question.key)
            if asked is None:
                return question, 0.0
            if self._is_of_another(question):
                # A cursor that is held down asks of every object that it comes by.
                turned_s = self._turned_s.get(question.key, -math.inf)
                wait_s = turned_s + _TURN_S - asyncio.get_running_loop().time()
            else:
                wait_s = question.every_s - (now_ms - asked[1]) / 1000
            if found[0] is None or wait_s < found[1]:
                found = (question, wait_s)
        return found

    def _is_of_another(self, question: PolledCall) -> bool:
        """Whether it was asked before of another object, or in another way."""
        asked = self._asked.get(question.key)
        return asked is not None and _call(asked[0]) != _call(question)

    async def _ask(self, question: PolledCall) -> None:
        answers, before = (
            self._store.answers,
            self._store.answers.get(question.key, FetchedAnswer()),
        )
        of = _call(question)
        try:
            value = await self._value(question)
        except LinkError as error:
            kept = None if isinstance(error, RequestRefused) else before.value
            answer = FetchedAnswer(value=kept, at_ms=before.at_ms, problem=str(error), of=of)
        except msgspec.MsgspecError as error:
            message = f"the server's answer has another shape than expected: {error}"
            answer = FetchedAnswer(value=before.value, at_ms=before.at_ms, problem=message, of=of)
        else:
            answer = FetchedAnswer(value=value, at_ms=self._now_ms(), of=of)
        if all(_call(each) != of for each in self._wanted):
            return  # Nobody looks at it any more.
        answers[question.key] = answer
        if question.took is not None and not answer.problem:
            question.took(answer.value)

    async def _value(self, question: PolledCall) -> object:
        raw = await self._source.ask("GET", question.path, query=question.query)
        value = decoded(raw, question.shape)
        pages = 1
        while pages < question.pages and value.next_cursor is not None:
            query = {**question.query, "cursor": value.next_cursor}
            raw = await self._source.ask("GET", question.path, query=query)
            more = decoded(raw, question.shape)
            more.items[:0] = value.items
            value = more
            pages += 1
        return value


def _call(question: PolledCall) -> tuple[str, tuple[tuple[str, str], ...]]:
    return question.path, tuple(sorted(question.query.items()))
