"""Decides how a forecast is made and shown: the system as it is now, beside what would be."""

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import msgspec

from control.cli.command_context import CommandContext
from control.cli.errors import UsageError
from control.cli.output import columns
from control.cli.output.formats import Row
from control.core.balancer.policy import Policy
from control.core.simulation.what_if import Comparison, Overrides, Scenario, Setup, changed, compare
from control.core.simulation.workload import Farm, PlayedJob
from control.model import display_text
from control.model.json_values import Json

_DASH: Final = "–"
_PERCENT: Final = 100


class _ForecastWorker(msgspec.Struct, frozen=True, kw_only=True):
    state: str
    slots: int


class _Rules(msgspec.Struct, frozen=True, kw_only=True):
    slow: float
    slow_auto: bool
    threshold_seconds: float
    threshold_auto: bool
    lend: bool


def present(session: CommandContext) -> Setup:
    """What the server has now; no slots where no worker is connected."""
    rules = msgspec.convert(session.api.get("/v1/partitions/split"), _Rules)
    partitions = len(list(session.api.items("/v1/partitions")))
    workers = msgspec.convert(list(session.api.items("/v1/workers")), list[_ForecastWorker])
    slots = tuple(each.slots for each in workers if each.state == "connected" and each.slots)
    policy = Policy(
        partitions=partitions,
        slow_share=None if rules.slow_auto else rules.slow / _PERCENT,
        slow_threshold_s=None if rules.threshold_auto else rules.threshold_seconds,
        lend=rules.lend,
    )
    farm = Farm(slots=slots, partitions=partitions)
    return Setup(farm=farm, policy=policy)


def nothing() -> Setup:
    """No server and no workers; the rules are those of a new system."""
    policy = Policy()
    return Setup(farm=Farm(slots=(), partitions=policy.partitions), policy=policy)


def with_farm(now: Setup, overrides: Overrides) -> Setup:
    """Where no worker is connected, the options say which there are; raises `UsageError`."""
    if overrides.workers is None or overrides.slots is None:
        message = "no worker is connected that jobs could be played on: give --workers and --slots"
        raise UsageError(message)
    farm = msgspec.structs.replace(now.farm, slots=(overrides.slots,) * overrides.workers)
    return changed(Setup(farm=farm, policy=now.policy), Overrides(partitions=overrides.partitions))


def forecast(
    session: CommandContext,
    jobs: Sequence[PlayedJob],
    now: Setup,
    changes: Overrides,
    *,
    late_s: float,
) -> Comparison:
    """Play these jobs (there is at least one) as it is now, and with the changes."""
    session.out.say(f"playing {len(jobs)} jobs in virtual time")
    return compare(jobs, now, changed(now, changes), late_s=late_s)


def show(session: CommandContext, comparison: Comparison) -> None:
    """The table for people: now beside what would be, then who is late."""
    out = session.out
    span, cut = (
        display_text.seconds(comparison.span_seconds),
        display_text.seconds(comparison.threshold_seconds),
    )
    out.write(f"{comparison.jobs} jobs in {span}; slow: names whose jobs take {cut} or more\n")
    plays = [comparison.now] if comparison.what_if is None else [comparison.now, comparison.what_if]
    titles = ("now", "what_if")[: len(plays)]
    measures = [_measures(play, comparison.late_seconds) for play in plays]
    rows: list[Row] = [
        {
            "measure": name,
            **{title: each[name] for title, each in zip(titles, measures, strict=True)},
        }
        for name in measures[0]
    ]
    out.list(rows, columns.FORECAST[: 1 + len(plays)], "measure")
    late = _late(plays)
    if late:
        out.write("\npipelines with the most late jobs:")
        out.list(late, columns.LATE[: 2 + len(plays)], "pipeline")


def document(comparison: Comparison) -> Json:
    """The forecast for programs."""
    value: Json = msgspec.to_builtins(comparison)
    return value


def parse_slow(text: str) -> float | Literal["auto"]:
    """`60` (percent) or `auto`, as it is written; raises `UsageError`."""
    if text == "auto":
        return "auto"
    try:
        percent = float(text.removesuffix("%"))
    except ValueError:
        percent = -1.0
    if 0 < percent < 1:
        message = f"--slow {text}: this is percent; did you mean {percent * _PERCENT:g}?"
        raise UsageError(message)
    if not 0 <= percent <= _PERCENT:
        message = f"--slow {text}: give percent of the partitions, 0 to 100, or auto"
        raise UsageError(message)
    return percent


def share(slow: float | Literal["auto"]) -> float | Literal["auto"]:
    """Percent as a part of one."""
    return slow if slow == "auto" else slow / _PERCENT


def parse_threshold(text: str) -> float | Literal["auto"]:
    """Seconds or `auto`; raises `UsageError`."""
    if text == "auto":
        return "auto"
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        message = f"--slow-threshold {text}: give seconds, or auto"
        raise UsageError(message)
    return seconds


def _measures(play: Scenario, late_s: float) -> Mapping[str, str]:
    measures = {
        "workers": str(play.workers),
        "slots": str(play.slots),
        "partitions": str(play.partitions),
        "of them for slow jobs": "auto" if play.slow == "auto" else f"{play.slow:g} %",
        "slow from": (
            "auto" if play.slow_threshold == "auto" else display_text.seconds(play.slow_threshold)
        ),
        "lend": "yes" if play.lend else "no",
        "utilisation": f"{play.utilisation:.0%}",
    }
    for waited in play.classes:
        name, wait = waited.speed.value, waited.wait
        measures[f"{name} jobs"] = str(waited.jobs)
        for title, seconds in (
            ("p50", wait.p50),
            ("p95", wait.p95),
            ("p99", wait.p99),
            ("longest", wait.max),
        ):
            shown = _DASH if seconds is None else display_text.seconds(seconds)
            measures[f"{name} wait {title}"] = shown
        measures[f"{name} jobs late"] = str(waited.late)
    measures[f"late: waited over {display_text.seconds(late_s)}"] = str(play.late)
    return measures


def _late(plays: Sequence[Scenario]) -> list[Row]:
    """Who is late in any play. One that a play does not list has at most as many as its last."""
    rows: dict[str, dict[str, Json]] = {}
    for title, play in zip(("now", "what_if"), plays, strict=False):
        for late in play.pipelines:
            row = rows.setdefault(late.pipeline, {"pipeline": late.pipeline, "jobs": late.jobs})
            row[title] = late.late
    return list(rows.values())
