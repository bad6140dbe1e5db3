"""Owns how synthetic jobs come about: the pipelines' true distributions, and when jobs arrive.

Times of the day are shares of the horizon here (0 to 1); only arrivals are in seconds.
"""

import bisect
import math
import random
from collections.abc import Sequence
from itertools import accumulate
from statistics import NormalDist
from typing import Final

LEAST_S: Final = 0.1  # Shorter jobs count as this long for the index.
LONGEST_S: Final = 7200.0
STEP_S: Final = 10.0  # Arrivals are evenly spread within such a step.
_NORMAL: Final = NormalDist()
_FINE: Final = 50  # Truths are kept for shifts of the log rounded to 1/50.

Mode = tuple[float, float, float]
"""How likely, mean of the log, standard deviation of the log."""


class PipelineSource:
    """A pipeline as it truly is: a mixture of log-normal durations that may move with time."""

    __slots__ = ("_truths", "born", "client", "drift", "modes", "name", "phase", "turns", "weight")

    def __init__(
        self, name: str, client: str, weight: float, modes: Sequence[Mode], *, born: float = 0.0
    ) -> None:
        self.name = name
        self.client = client
        self.weight = weight
        self.modes = tuple(modes)
        self.born = born
        self.drift = 0.0  # Of the log: it swings so far up and down.
        self.phase = 0.0
        self.turns: tuple[float, float, float] | None = None  # From, to, how many times slower.
        self._truths: dict[int, tuple[float, float]] = {}

    def shift(self, at: float) -> float:
        """By how much the log of its durations is moved at this time."""
        moved = self.drift * math.sin(2 * math.pi * (at + self.phase)) if self.drift else 0.0
        if self.turns is not None and self.turns[0] <= at < self.turns[1]:
            moved += math.log(self.turns[2])
        return moved

    def draw(self, chance: random.Random, at: float) -> float:
        """Seconds of one of its jobs."""
        u = chance.random()
        mode = 0
        while mode < len(self.modes) - 1 and u >= self.modes[mode][0]:
            u -= self.modes[mode][0]
            mode += 1
        _, mean, sd = self.modes[mode]
        return min(math.exp(chance.gauss(mean + self.shift(at), sd)), LONGEST_S)

    def truth(self, at: float) -> tuple[float, float]:
        """The mean, and the index, of its durations at this time."""
        step = round(self.shift(at) * _FINE)
        known = self._truths.get(step)
        if known is None:
            known = self._truths[step] = truth_of(self.modes, step / _FINE)
        return known


def truth_of(modes: Sequence[Mode], shift: float = 0.0) -> tuple[float, float]:
    """E[S] and sqrt(E[S] / E[1 / max(S, LEAST_S)]) of the mixture."""
    mean = inverse = 0.0
    for share, centre, sd in modes:
        mu = centre + shift
        mean += share * math.exp(mu + sd * sd / 2)
        least = (math.log(LEAST_S) - mu) / sd
        short = _NORMAL.cdf(least) / LEAST_S
        inverse += share * (short + math.exp(-mu + sd * sd / 2) * _NORMAL.cdf(-least - sd))
    return mean, math.sqrt(mean / inverse)


def empirical_truth(seconds: Sequence[float]) -> tuple[float, float]:
    """The same of durations that were seen."""
    mean = sum(seconds) / len(seconds)
    inverse = sum(1 / max(each, LEAST_S) for each in seconds) / len(seconds)
    return mean, math.sqrt(max(mean, 1e-9) / inverse)


def zipf(count: int, exponent: float) -> list[float]:
    """Shares of so many, the first the largest."""
    raw = [(rank + 1) ** -exponent for rank in range(count)]
    total = sum(raw)
    return [each / total for each in raw]


def spread_out(
    chance: random.Random, weights: Sequence[float], median_s: float, sd: float
) -> list[float]:
    """A log-mean for each weight so that, by weight, they are normally distributed.

    Drawn at random the few most frequent ones would decide the whole mix.
    """
    order = list(range(len(weights)))
    chance.shuffle(order)
    means, below = [0.0] * len(weights), 0.0
    for place in order:
        weight = weights[place]
        means[place] = math.log(median_s) + sd * _NORMAL.inv_cdf(below + weight / 2)
        below += weight
    return means


class Picker:
    """Chooses among sources by weight, of those that are there yet."""

    def __init__(self, chance: random.Random, sources: Sequence[PipelineSource]) -> None:
        self._chance = chance
        self._sources = sources
        self._sums = list(accumulate(source.weight for source in sources))

    def pick(self, at: float) -> PipelineSource:
        """One of them."""
        total, random_ = self._sums[-1], self._chance.random
        while True:
            found = self._sources[bisect.bisect(self._sums, random_() * total)]
            if found.born <= at:
                return found

    def mean_s(self) -> float:
        """How long a job is expected to be, over the whole horizon."""
        looks = [(step + 0.5) / 20 for step in range(20)]
        work = count = 0.0
        for source in self._sources:
            for at in looks:
                if source.born <= at:
                    work += source.weight * source.truth(at)[0]
                    count += source.weight
        return work / count


# When jobs arrive: a weight for each step of the horizon.


def steady(horizon_s: float) -> list[float]:
    """Always the same."""
    return [1.0] * max(int(horizon_s / STEP_S), 1)


def uneven(chance: random.Random, steps: list[float], sd: float) -> None:
    """Each minute by chance busier or calmer than the others."""
    per_minute = int(60 / STEP_S)
    for at in range(0, len(steps), per_minute):
        factor = math.exp(chance.gauss(-sd * sd / 2, sd))
        for step in range(at, min(at + per_minute, len(steps))):
            steps[step] *= factor


def daily(steps: list[float], period_s: float, swing: float) -> None:
    """Busiest in the middle of each period."""
    for step in range(len(steps)):
        steps[step] *= 1 - swing * math.cos(2 * math.pi * step * STEP_S / period_s)


def bursts(
    chance: random.Random, steps: list[float], *, every_s: float, lasts_s: float, times: float
) -> None:
    """Now and then so many times as busy, for so long (both by chance around these)."""
    count = max(round(len(steps) * STEP_S / every_s), 1)
    for number in range(count):
        # One in each equal part of the horizon, so that seeds differ less.
        begin = int((number + chance.uniform(0.05, 0.75)) / count * len(steps))
        length = max(int(lasts_s * chance.uniform(0.5, 1.5) / STEP_S), 1)
        factor = times * chance.uniform(0.7, 1.3)
        for step in range(begin, min(begin + length, len(steps))):
            steps[step] *= factor


def arrivals(chance: random.Random, count: int, steps: Sequence[float]) -> list[float]:
    """So many seconds, in order, as dense as the steps' weights."""
    sums = list(accumulate(steps))
    random_ = chance.random
    found = []
    for _ in range(count):
        u = random_() * sums[-1]
        step = bisect.bisect(sums, u)
        found.append((step + (sums[step] - u) / steps[step]) * STEP_S)
    found.sort()
    return found
