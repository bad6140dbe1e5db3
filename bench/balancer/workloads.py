"""Decides the synthetic workloads D1 to D11 of docs/balancing.md, section 13, by seed."""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from bench.balancer import sources
from bench.balancer.sources import Picker, PipelineSource
from control.core.simulation.workload import Farm, PlayedJob, WorkerFault, work_s

FARM: Final = Farm(slots=(2,) * 10)
NOISY: Final = "noisy"
FAILING: Final = 0.05
ABOUT_A_SECOND: Final = 0.7  # In the log.


class Workload(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Jobs by arrival; what is true of each one's pipeline then: its mean duration, its index."""

    name: str
    jobs: list[PlayedJob]
    means: list[float]
    indexes: list[float]
    farm: Farm


class _Draft:
    """A workload in the making. Its horizon is what the load makes of the number of jobs."""

    def __init__(self, chance: random.Random, jobs: int, load: float, farm: Farm) -> None:
        self.chance = chance
        self.count = jobs
        self.load = load
        self.farm = farm
        self.horizon_s = 0.0
        self.made: list[tuple[float, int, PlayedJob, tuple[float, float]]] = []
        self.runs = 0

    def work_rate(self) -> float:
        """Seconds of work asked for in a second."""
        return self.load * self.farm.total

    def add(self, source: PipelineSource, at_s: float, stages: int = 1) -> None:
        """One run that arrives then."""
        self.runs += 1
        at = min(at_s / self.horizon_s, 1.0)
        for stage in range(stages):
            job = PlayedJob(
                run=self.runs,
                at_s=at_s,
                arrival_s=at_s,
                pipeline=source.name,
                name=f"stage-{stage}" if stages > 1 else "job",
                client=source.client,
                seconds=source.draw(self.chance, at),
                stages_left=stages - stage,
            )
            self.made.append((at_s, self.runs, job, source.truth(at)))

    def finish(self, name: str, faults: tuple[WorkerFault, ...] = ()) -> Workload:
        """All of it in order, stretched so that the load is exact."""
        self.made.sort(key=lambda each: each[:2])  # Stable: stages stay in order.
        scale = work_s([job for _, _, job, _ in self.made]) / self.work_rate() / self.horizon_s
        jobs: list[PlayedJob] = []
        for at_s, _, job, _ in self.made:
            later = bool(jobs) and jobs[-1].run == job.run
            changed = msgspec.structs.replace(
                job,
                at_s=at_s * scale,
                arrival_s=at_s * scale,
                after=len(jobs) - 1 if later else None,
            )
            jobs.append(changed)
        return Workload(
            name=name,
            jobs=jobs,
            means=[truth[0] for *_, truth in self.made],
            indexes=[truth[1] for *_, truth in self.made],
            farm=msgspec.structs.replace(self.farm, faults=(*self.farm.faults, *faults)),
        )


class Mix(msgspec.Struct, frozen=True, kw_only=True):
    """Pipelines: the middle duration, how far jobs spread (sd of the log), who they belong to.

    `bimodal`: the share of pipelines with two modes, `apart` in the log. `drift`: how far the log
    swings. `young`: the share of pipelines that appear later.
    """

    median_s: float = 1.0
    sd: float = 1.7
    within: float = 0.5
    pipelines: int = 300
    clients: int = 8
    exponent: float = 0.9
    bimodal: float = 0.0
    apart: float = 2.7
    drift: float = 0.0
    young: float = 0.0

    def made(self, chance: random.Random) -> list[PipelineSource]:
        """The pipelines."""
        weights = sources.zipf(self.pipelines, self.exponent)
        second = 0.25  # How often the slow mode comes.
        extra = self.bimodal * second * (1 - second) * self.apart**2
        between = math.sqrt(max(self.sd**2 - self.within**2 - extra, 0.04))
        middles = sources.spread_out(chance, weights, self.median_s, between)
        owners = sources.zipf(self.clients, 0.7)
        found = []
        for place, (weight, middle) in enumerate(zip(weights, middles, strict=True)):
            modes = [(1.0, middle, self.within)]
            if chance.random() < self.bimodal:
                low = middle - second * self.apart
                modes = [(1 - second, low, 0.4), (second, low + self.apart, 0.4)]
            client = f"client-{chance.choices(range(self.clients), owners)[0]}"
            born = chance.uniform(0.1, 0.9) if chance.random() < self.young else 0.0
            source = PipelineSource(f"p{place}", client, weight, modes, born=born)
            source.drift, source.phase = self.drift * chance.uniform(0.3, 1.0), chance.random()
            found.append(source)
        found[0].born = 0.0
        return found


class ArrivalPace(msgspec.Struct, frozen=True, kw_only=True):
    """When runs arrive. `bursts`: every so many seconds, for how long, how many times as many."""

    uneven: float = 0.15
    bursts: tuple[float, float, float] | None = None
    day_s: float | None = None
    swing: float = 0.0

    def steps(self, chance: random.Random, horizon_s: float) -> list[float]:
        """The weight of each step of the horizon."""
        steps = sources.steady(horizon_s)
        sources.uneven(chance, steps, self.uneven)
        if self.day_s is not None:
            sources.daily(steps, min(self.day_s, horizon_s), self.swing)
        if self.bursts is not None:
            every_s, lasts_s, times = self.bursts
            sources.bursts(chance, steps, every_s=every_s, lasts_s=lasts_s, times=times)
        return steps


def _usual(draft: _Draft, mix: Mix, pace: ArrivalPace, stages: int = 1) -> list[PipelineSource]:
    """Runs of this mix at this pace, as many as the draft should have jobs."""
    made = mix.made(draft.chance)
    _fill(draft, made, pace, stages)
    return made


def _fill(
    draft: _Draft,
    made: Sequence[PipelineSource],
    pace: ArrivalPace,
    stages: int = 1,
    share: float = 1.0,
) -> None:
    picker = Picker(draft.chance, made)
    draft.horizon_s = draft.count * picker.mean_s() / draft.work_rate()
    steps = pace.steps(draft.chance, draft.horizon_s)
    for at_s in sources.arrivals(draft.chance, round(share * draft.count / stages), steps):
        draft.add(picker.pick(at_s / draft.horizon_s), at_s, stages)


_BURSTS: Final = (2400.0, 220.0, 3.0)


def _ylem_like(draft: _Draft) -> Workload:
    _usual(draft, Mix(sd=1.8), ArrivalPace(uneven=0.35))
    return draft.finish("D1")


def _azure(draft: _Draft) -> Workload:
    _usual(draft, Mix(median_s=0.68, sd=2.45, exponent=1.0), ArrivalPace(bursts=_BURSTS))
    return draft.finish("D2")


def _ci_day(draft: _Draft) -> Workload:
    mix = Mix(median_s=47.0, sd=1.2, pipelines=60, exponent=0.7)
    _usual(draft, mix, ArrivalPace(day_s=86_400.0, swing=0.65))
    return draft.finish("D3")


def _bimodal(draft: _Draft) -> Workload:
    _usual(draft, Mix(sd=2.0, bimodal=0.7, apart=2.8), ArrivalPace(uneven=0.4))
    return draft.finish("D4")


def _drifting(draft: _Draft) -> Workload:
    _usual(draft, Mix(sd=1.9, drift=1.2, young=0.4), ArrivalPace(bursts=_BURSTS))
    return draft.finish("D5")


def _failing(draft: _Draft) -> Workload:
    _usual(draft, Mix(sd=2.0), ArrivalPace(uneven=0.5))
    draft.made = [
        (at_s, run, msgspec.structs.replace(job, fails=draft.chance.random() < FAILING), truth)
        for at_s, run, job, truth in draft.made
    ]
    return draft.finish("D6", _faults(draft))


def _faults(draft: _Draft) -> tuple[WorkerFault, ...]:
    """One worker gone for minutes now and then, another one five times slower."""
    found: list[WorkerFault] = []
    at_s, every_s, chance = 0.0, 900.0, draft.chance
    while (at_s := at_s + every_s * chance.uniform(0.7, 1.3)) < 0.95 * draft.horizon_s:
        gone, slow = chance.sample(range(len(draft.farm.slots)), 2)
        for worker, slowness, lasts_s in ((gone, None, 240.0), (slow, 5.0, 600.0)):
            end_s = at_s + lasts_s * chance.uniform(0.5, 1.0)
            found += (
                WorkerFault(at_s=at_s, worker=worker, slowness=slowness),
                WorkerFault(at_s=end_s, worker=worker, slowness=1.0),
            )
    return tuple(sorted(found, key=lambda fault: fault.at_s))


def _crowd(
    draft: _Draft, made: Sequence[PipelineSource], *, every_s: float, lasts_s: float, total: float
) -> None:
    """A client that now and then asks for so much that all in all `total` of the farm is asked."""
    chance, farm = draft.chance, draft.farm.total
    picker = Picker(chance, made)
    count = max(round(draft.horizon_s / every_s), 1)
    lasts_s = min(lasts_s, draft.horizon_s / count / 10)  # Also where the horizon is short.
    work = (total - draft.load) * farm * lasts_s
    spare = sum(job.seconds for _, _, job, _ in draft.made)
    keep = 1 - count * work / spare  # So the others ask for less by as much.
    draft.made = [each for each in draft.made if chance.random() < keep]
    for number in range(count):
        begin_s = (number + chance.uniform(0.1, 0.7)) / count * draft.horizon_s
        for _ in range(round(work / picker.mean_s())):
            at_s = begin_s + chance.random() * lasts_s
            draft.add(picker.pick(at_s / draft.horizon_s), at_s)


def _noisy(draft: _Draft) -> Workload:
    _usual(draft, Mix(sd=2.0), ArrivalPace())
    loud = Mix(sd=1.9, median_s=0.8, pipelines=20, clients=1).made(draft.chance)
    for source in loud:
        source.name, source.client = f"noisy-{source.name}", NOISY
    _crowd(draft, loud, every_s=6000.0, lasts_s=400.0, total=1.9)
    return draft.finish("D7")


def _storms(draft: _Draft) -> Workload:
    """A third of the runs arrive at full quarters of an hour, within seconds."""
    made = Mix(sd=2.0).made(draft.chance)
    _fill(draft, made, ArrivalPace(), stages=4, share=2 / 3)
    picker, chance = Picker(draft.chance, made), draft.chance
    ticks = max(int(draft.horizon_s / 900.0), 1)
    sizes = [chance.uniform(0.3, 1.7) for _ in range(ticks)]
    for tick, size in enumerate(sizes):
        for _ in range(round(draft.count / 3 / 4 * size / sum(sizes))):
            at_s = (tick + 0.5) / ticks * draft.horizon_s + chance.expovariate(0.1)
            draft.add(picker.pick(at_s / draft.horizon_s), at_s, stages=4)
    return draft.finish("D8")


def _flood(draft: _Draft) -> Workload:
    _usual(draft, Mix(sd=1.8), ArrivalPace())
    flood = PipelineSource("flood", NOISY, 1.0, [(1.0, -0.005, 0.1)])
    _crowd(draft, [flood], every_s=6000.0, lasts_s=300.0, total=1.7)
    return draft.finish("D9")


def _slower(draft: _Draft) -> Workload:
    """Pipelines of about a second, with a sixth of the jobs, become 60 times slower for a while."""
    made = Mix(sd=2.0).made(draft.chance)
    windows = [(begin, begin + 0.09) for begin in (0.2, 0.6)]
    left = 0.16
    for source in draft.chance.sample(made[3:], len(made) - 3):
        if abs(source.modes[0][1]) < ABOUT_A_SECOND and source.weight <= left:
            source.turns = (*draft.chance.choice(windows), 60.0)
            left -= source.weight
    _fill(draft, made, ArrivalPace(uneven=0.4))
    return draft.finish("D10")


def _everything(draft: _Draft) -> Workload:
    mix = Mix(sd=1.9, bimodal=1.0, apart=3.4, within=0.4, drift=0.7, young=0.4)
    _usual(draft, mix, ArrivalPace(bursts=_BURSTS))
    return draft.finish("D11")


FAMILIES: Final[Mapping[str, tuple[str, Callable[[_Draft], Workload]]]] = {
    "D1": ("a mix like Ylem's", _ylem_like),
    "D2": ("Azure functions, with bursts", _azure),
    "D3": ("a day of continuous integration", _ci_day),
    "D4": ("pipelines with two modes", _bimodal),
    "D5": ("durations drift, pipelines appear", _drifting),
    "D6": ("workers and jobs fail, stragglers", _failing),
    "D7": ("a noisy client", _noisy),
    "D8": ("cron storms, runs of four stages", _storms),
    "D9": ("one client floods jobs of 1 s", _flood),
    "D10": ("pipelines turn 60 times slower", _slower),
    "D11": ("two modes, drift, new pipelines", _everything),
}


def workload(
    name: str, *, seed: int, jobs: int = 20_000, load: float = 0.8, farm: Farm = FARM
) -> Workload:
    """The workload of this family. `load`: the share of the slots' time that is asked for."""
    chance = random.Random(f"{name} {seed}")
    return FAMILIES[name][1](_Draft(chance, jobs, load, farm))
