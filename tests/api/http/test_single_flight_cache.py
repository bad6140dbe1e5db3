"""Holds answers that are kept to how long they may be, and to one finding for all who ask."""

import pytest
import trio

from control.api.endpoints.stats import kept_s
from control.api.http.single_flight_cache import SingleFlightCache


class _Find:
    """Counts how often it is asked, which takes a second each. `keep_s`: how long it says."""

    def __init__(self, keep_s: float) -> None:
        self.keep_s = keep_s
        self.times = 0

    async def __call__(self) -> tuple[int, float]:
        self.times += 1
        await trio.sleep(1.0)
        return self.times, self.keep_s


async def test_it_is_given_again_until_its_time_is_over(autojump_clock: object) -> None:
    kept, find = SingleFlightCache[str, int](2), _Find(10.0)
    assert (await kept.get("a", find)).value == 1
    await trio.sleep(9.9)
    found = await kept.get("a", find)
    assert found.value == 1
    assert trio.current_time() - found.at == pytest.approx(9.9)
    await trio.sleep(0.2)
    assert (await kept.get("a", find)).value == 2


@pytest.mark.parametrize(("keep_s", "expected"), [(10.0, [1, 1, 1]), (0.0, [1, 2, 3])])
async def test_who_asks_meanwhile_gets_it_if_it_is_kept(
    keep_s: float, expected: list[int], autojump_clock: object
) -> None:
    kept, find, answers = SingleFlightCache[str, int](2), _Find(keep_s), list[int]()

    async def ask() -> None:
        answers.append((await kept.get("a", find)).value)

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(ask)
    assert answers == expected


async def test_those_asked_for_least_lately_are_dropped(autojump_clock: object) -> None:
    kept, find = SingleFlightCache[str, int](2), _Find(100.0)
    assert [(await kept.get(each, find)).value for each in "abacab"] == [1, 2, 1, 3, 1, 4]


async def test_a_failure_is_told_and_not_kept(autojump_clock: object) -> None:
    kept, find = SingleFlightCache[str, int](2), _Find(10.0)

    async def fail() -> tuple[int, float]:
        await trio.sleep(1.0)
        message = "no"
        raise OSError(message)

    for _ in range(2):
        with pytest.raises(OSError, match="no"):
            await kept.get("a", fail)
    with trio.move_on_after(0.5):
        await kept.get("a", find)
    assert (await kept.get("a", find)).value == 2


@pytest.mark.parametrize(
    ("cost_s", "window_s", "expected"),
    [(0.04, 900.0, 0.0), (0.1, 900.0, 30.0), (1.0, 300.0, 20.0), (1.0, 86_400.0, 60.0)],
)
def test_the_dearer_a_report_the_longer_it_is_kept(
    cost_s: float, window_s: float, expected: float
) -> None:
    assert kept_s(cost_s, window_s) == pytest.approx(expected)
