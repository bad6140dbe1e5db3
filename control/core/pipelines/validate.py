"""Decides whether a pipeline definition is valid, and says everything that is wrong with it."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, TypeAlias, TypeVar

import msgspec

from control.core.pipelines.documents import read_json, read_yaml
from control.core.pipelines.job_checks import (
    check_kind,
    check_surroundings,
    check_templates,
    check_texts,
)
from control.core.pipelines.json_limits import check_plain
from control.core.pipelines.needs import JobNeeds, find_circles, predecessors
from control.core.pipelines.problems import Findings
from control.core.pipelines.type_errors import check_shape
from control.model import limits
from control.model.json_values import Json, Path, cut, show
from control.model.kinds import KindRegistry
from control.model.names import CHILD_KIND
from control.model.pipelines import Pipeline

_T = TypeVar("_T")
_CIRCLE_SHOWN_MAX: Final = 20

# Takes a cron expression and a time zone; answers (field, message) for each problem.
CheckSchedule: TypeAlias = Callable[[str, str], Sequence[tuple[str, str]]]


def parse_pipeline(
    body: bytes, *, yaml: bool, kinds: KindRegistry, check_schedule: CheckSchedule
) -> Pipeline:
    """Read a pipeline file; raises Invalid with every problem found."""
    document = read_yaml(body) if yaml else read_json(body)
    return pipeline_from_value(
        document.value,
        kinds=kinds,
        check_schedule=check_schedule,
        lines=document.lines,
        written=document.written,
    )


def pipeline_from_value(
    value: object,
    *,
    kinds: KindRegistry,
    check_schedule: CheckSchedule,
    lines: Mapping[Path, int] | None = None,
    written: Mapping[Path, str] | None = None,
    path: Path = (),
) -> Pipeline:
    """Take a pipeline from plain values; raises Invalid with every problem found.

    `path` is where the pipeline stands in what the user sent; problems' paths start with it.
    """
    findings = Findings(lines, written)
    check_plain(value, path, findings)
    findings.raise_if_any()
    if not isinstance(value, dict):
        findings.add(path, "a pipeline is an object with name, stages, and jobs")
        raise findings.as_invalid()
    check_shape(value, Pipeline, path, findings)
    versions = _Definition(value, path, findings).check(kinds, check_schedule)
    findings.raise_if_any()
    return _build(value, versions, path, findings)


class _ReadJob(msgspec.Struct, frozen=True, kw_only=True):
    """What could be read of one job, however wrong the rest of it is."""

    path: Path
    fields: dict[str, Json]
    name: str | None
    stage: int | None
    needs: list[tuple[int, str]] | None  # With the place of each in the list.


class _Definition:
    """The checks that look at more than one field; each passes over what has no right shape."""

    def __init__(self, definition: dict[str, Json], path: Path, findings: Findings) -> None:
        self._definition = definition
        self._path = path
        self._findings = findings
        self._stages = dict[str, int]()
        for place, stage in _items(definition.get("stages"), str):
            self._stages.setdefault(stage, place)
        self._jobs = [
            self._job(fields, (*path, "jobs", place))
            for place, fields in _items(definition.get("jobs"), dict)
        ]
        self._named = dict[str, _ReadJob]()
        for job in self._jobs:
            if job.name is not None:
                self._named.setdefault(job.name, job)

    def check(self, kinds: KindRegistry, check_schedule: CheckSchedule) -> list[str | None]:
        """Note every problem; returns each job's version of its kind."""
        self._check_stages()
        self._check_names()
        for job in self._jobs:
            self._check_needs(job)
            self._check_retry(job)
        self._check_circles()
        self._check_schedules(check_schedule)
        self._check_triggers()
        self._check_children()
        self._check_notify()
        versions = [check_kind(job.fields, job.path, kinds, self._findings) for job in self._jobs]
        awaited = self._awaited()
        for job, version in zip(self._jobs, versions, strict=True):
            waits_for = awaited.get(job.name) if job.name is not None else None
            kind = kinds.get(str(job.fields["kind"]), version) if version is not None else None
            check_templates(job.fields, job.path, waits_for, self._named, self._findings)
            check_surroundings(job.fields, job.path, kind, self._findings)
        return versions

    def _job(self, fields: dict[str, Json], path: Path) -> _ReadJob:
        name, stage, needs = fields.get("name"), fields.get("stage"), fields.get("needs")
        return _ReadJob(
            path=path,
            fields=fields,
            name=name if isinstance(name, str) else None,
            stage=self._stages.get(stage) if isinstance(stage, str) else None,
            needs=_items(needs, str) if isinstance(needs, list) else None,
        )

    def _check_stages(self) -> None:
        for place, stage in _items(self._definition.get("stages"), str):
            if self._stages[stage] != place:
                first = f"stages[{self._stages[stage]}]"
                message = f"the stage {show(stage)} is listed twice, first as {first}"
                self._findings.add((*self._path, "stages", place), message)
        # Without any stages every job would repeat what is said about those.
        for job in self._jobs if self._stages else ():
            named = job.fields.get("stage")
            if isinstance(named, str) and named not in self._stages:
                hint = self._findings.suggest(named, self._stages)
                message = f"the stage {show(named)} is not defined in stages"
                self._findings.add((*job.path, "stage"), message, hint)

    def _check_names(self) -> None:
        for job in self._jobs:
            if job.name is not None and self._named[job.name] is not job:
                first = self._named[job.name].path[-1]
                message = f"the name {show(job.name)} is taken by jobs[{first}]"
                self._findings.add((*job.path, "name"), message)

    def _check_needs(self, job: _ReadJob) -> None:
        seen: set[str] = set()
        for place, needed in job.needs or ():
            path = (*job.path, "needs", place)
            other = self._named.get(needed)
            if needed in seen:
                self._findings.add(path, f"the job {show(needed)} is listed twice")
            elif other is None:
                hint = self._findings.suggest(needed, self._named)
                self._findings.add(path, f"there is no job {show(needed)}", hint)
            elif needed == job.name:
                self._findings.add(path, "a job cannot wait for itself")
            elif job.stage is not None and other.stage is not None and other.stage > job.stage:
                message = f"the job {show(needed)} is in a later stage"
                hint = "needs may name jobs of the same or an earlier stage"
                self._findings.add(path, message, hint)
            seen.add(needed)

    def _check_circles(self) -> None:
        needs = {
            name: [needed for _, needed in job.needs or () if needed != name]
            for name, job in self._named.items()
        }
        for circle in find_circles(needs):
            message = f"these jobs wait for each other: {_shown_circle(circle)}"
            path = (*self._named[circle[0]].path, "needs")
            self._findings.add(path, message, "leave one of these needs out")

    def _check_retry(self, job: _ReadJob) -> None:
        delay, delay_max = job.fields.get("retry_delay", 0), job.fields.get("retry_delay_max")
        if not (isinstance(delay, int | float) and isinstance(delay_max, int | float)):
            return
        if delay > delay_max:
            message = f"less than retry_delay, which is {delay}"
            self._findings.add((*job.path, "retry_delay_max"), message)

    def _check_schedules(self, check_schedule: CheckSchedule) -> None:
        for place, schedule in _items(self._definition.get("schedules"), dict):
            path = (*self._path, "schedules", place)
            cron, timezone = schedule.get("cron"), schedule.get("timezone", "UTC")
            if isinstance(cron, str) and isinstance(timezone, str):
                for field, message in check_schedule(cron, timezone):
                    self._findings.add((*path, field), message)
            if len(msgspec.json.encode(schedule.get("input"))) > limits.INPUT_BYTES_MAX:
                message = f"more than {limits.INPUT_BYTES_MAX} bytes of JSON"
                self._findings.add((*path, "input"), message)

    def _check_triggers(self) -> None:
        seen: set[tuple[str, str]] = set()
        for place, trigger in _items(self._definition.get("triggers"), dict):
            path = (*self._path, "triggers", place)
            target, when = trigger.get("pipeline"), trigger.get("when", "on_success")
            if not (isinstance(target, str) and isinstance(when, str)):
                continue
            if target == self._definition.get("name"):
                message = "a pipeline cannot trigger itself: its runs would never end"
                self._findings.add((*path, "pipeline"), message, "use schedules to run it again")
            if (target, when) in seen:
                self._findings.add(path, f"{show(target)} is triggered twice {cut(when)}")
            seen.add((target, when))

    def _check_children(self) -> None:
        for job in self._jobs:
            params = job.fields.get("params")
            if job.fields.get("kind") != CHILD_KIND or not isinstance(params, dict):
                continue
            if params.get("name") == self._definition.get("name"):
                message = "a pipeline cannot be a job of itself: its runs would never end"
                self._findings.add((*job.path, "params", "name"), message)

    def _check_notify(self) -> None:
        for place, entry in _items(self._definition.get("notify"), dict):
            path = (*self._path, "notify", place)
            check_texts(entry, ("title", "body"), path, self._named, self._findings)

    def _awaited(self) -> dict[str, Collection[str]]:
        """What each job waits for, of the jobs whose stage and name are right."""
        return predecessors(
            [
                JobNeeds(
                    name=name,
                    stage=job.stage,
                    needs=None if job.needs is None else [needed for _, needed in job.needs],
                )
                for name, job in self._named.items()
                if job.stage is not None
            ]
        )


def _build(
    value: dict[str, Json], versions: list[str | None], path: Path, findings: Findings
) -> Pipeline:
    """Make the value of a definition in which nothing was found wrong."""
    jobs = [
        fields | {"version": version}
        for (_, fields), version in zip(_items(value["jobs"], dict), versions, strict=True)
    ]
    encoded = msgspec.json.encode(value | {"jobs": jobs})
    try:
        return msgspec.json.decode(encoded, type=Pipeline)
    except msgspec.ValidationError as error:
        # A rule that msgspec knows and control/core/pipelines/type_errors.py does not.
        findings.add(path, str(error))
        raise findings.as_invalid() from error


def _items(value: Json, wanted: type[_T]) -> list[tuple[int, _T]]:
    """The items of a list that have the wanted type, with their places."""
    if not isinstance(value, list):
        return []
    return [(place, item) for place, item in enumerate(value) if isinstance(item, wanted)]


def _shown_circle(circle: Sequence[str]) -> str:
    names = [cut(name) for name in circle]
    if len(names) > _CIRCLE_SHOWN_MAX:
        names[_CIRCLE_SHOWN_MAX - 2 : -1] = ["…"]
    return " -> ".join(names)
