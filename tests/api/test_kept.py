"""Holds answers that are kept to how long they may be, and to one finding for all who ask."""

import pytest
import trio
import trio.testing

from control.api.kept import Kept
from control.model import limits


class _Found:
    """Counts how often it is asked; finding takes `took_s`."""

    def __init__(self, took_s: float) -> None:
        self.took_s = took_s
        self.times = 0

    async def __call__(self) -> int:
        self.times += 1
        await trio.sleep(self.took_s)
        return self.times


@pytest.mark.parametrize(
    ("took_s", "least_s", "most_s", "kept_s"),
    [
        (0.0, 0.0, 60.0, 0.0),
        (0.0, 1.0, 1.0, 1.0),
        (0.1, 0.0, 60.0, 0.1 * limits.KEPT_FOR),
        (2.0, 0.0, 60.0, 60.0),
    ],
)
async def test_the_dearer_the_longer(
    took_s: float, least_s: float, most_s: float, kept_s: float, autojump_clock: object
) -> None:
    kept, found = Kept[str, int](2), _Found(took_s)

    async def ask() -> int:
        return await kept.get("a", found, least_s=least_s, most_s=most_s)

    assert await ask() == 1
    if kept_s:
        await trio.sleep(kept_s * 0.99)
        assert await ask() == 1
        await trio.sleep(kept_s * 0.02)
    assert await ask() == 2


async def test_all_who_ask_meanwhile_get_the_one_that_is_found(autojump_clock: object) -> None:
    kept, found, answers = Kept[str, int](2), _Found(1.0), list[int]()

    async def ask() -> None:
        answers.append(await kept.get("a", found, least_s=0.0, most_s=10.0))

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(ask)
    assert answers == [1] * 5


async def test_those_asked_for_least_lately_are_dropped(autojump_clock: object) -> None:
    kept, found = Kept[str, int](2), _Found(0.0)

    async def ask(question: str) -> int:
        return await kept.get(question, found, least_s=10.0, most_s=10.0)

    assert [await ask(each) for each in "abacab"] == [1, 2, 1, 3, 1, 4]


async def test_a_failure_is_told_and_not_kept(autojump_clock: object) -> None:
    kept, found = Kept[str, int](2), _Found(1.0)

    async def fail() -> int:
        await trio.sleep(1.0)
        message = "no"
        raise OSError(message)

    for _ in range(2):
        with pytest.raises(OSError, match="no"):
            await kept.get("a", fail, least_s=10.0, most_s=10.0)
    with trio.move_on_after(0.5):
        await kept.get("a", found, least_s=10.0, most_s=10.0)
    assert await kept.get("a", found, least_s=10.0, most_s=10.0) == 2
