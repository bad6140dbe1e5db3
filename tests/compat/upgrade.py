"""Plays an upgrade: the version before works, is killed, and this version goes on with its data."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from confluent_kafka.admin import AdminClient

from tests.compat.site import Site
from tests.compat.versions import Version, as_meant

# By label: the workers of the version before, of this one, and those that nobody replaces at once.
OLD, NEW, MORTAL, LATER = "old", "new", "mortal", "later"
_SPEAK: Final = 'echo "got ${{ run.n }}"; echo "{\\"n\\": ${{ run.n }}}" > "$TP_OUTPUT"'
_HOLD: Final = "echo $TP_JOB_ID >> {ran}; echo began; until [ -e {gate} ]; do sleep 0.1; done"
# Answers that are the same before and after, as long as no attempt ends.
REPORTS: Final = (
    "/v1/clients",
    "/v1/pipelines",
    "/v1/pipelines/speak",
    "/v1/pipelines/speak/hooks",
    "/v1/schedules",
    "/v1/scheduled-runs",
    "/v1/stats/summary?window=1d",
    "/v1/stats/pipelines?window=1d",
    "/v1/stats/slow-tasks?window=1d",
    "/v1/stats/task?pipeline=speak&job=one&window=1d",
    "/v1/stats/export?format=csv",
)


@dataclass(frozen=True)
class Upgrade:
    """What came of it. `was`, `became`: answers before and after, by path. `runs`: by name."""

    site: Site
    before: Version
    now: Version
    runs: Mapping[str, int]
    was: Mapping[str, Any]
    became: Mapping[str, Any]
    auth: tuple[str, str]  # Of the client ann.
    hook: str
    ran: Path  # A line for each time that a job began which was held up.


def shell(name: str, label: str, *commands: str, **more: object) -> dict[str, Any]:
    """A pipeline of one Shell job after the other."""
    stages = ["one", "two", "three"][: len(commands)]
    jobs = [
        {"name": at, "stage": at, "kind": "Shell", "params": {"command": each}, "labels": [label]}
        for at, each in zip(stages, commands, strict=True)
    ]
    return {"name": name, "stages": stages, "jobs": jobs, **more}


def stored(site: Site, ran: Path, gate: Path) -> tuple[tuple[str, str], str]:
    """Store pipelines, clients, and a hook; gives ann's credentials, and the hook's path."""
    hold = _HOLD.format(ran=ran, gate=gate)
    speak = (_SPEAK, "echo then ${{ jobs.one.n }}")
    far = f"0 {(datetime.now(UTC).hour + 12) % 24} * * *"  # Planned, and not due meanwhile.
    schedules = [{"cron": far}, {"cron": far, "timezone": "Europe/Paris", "enabled": False}]
    triggers = [{"pipeline": "triggered"}]
    for each in (
        shell("triggered", OLD, "echo triggered"),
        shell("speak", OLD, *speak, schedules=schedules, triggers=triggers),
        shell("speak-new", NEW, *speak),
        shell("fail", OLD, "echo about to fail; exit 3"),
        shell("held", OLD, hold, "echo then"),
        shell("held-new", NEW, hold),
        shell("held-mortal", MORTAL, hold),
        shell("wait", LATER, "echo late"),
        {
            "name": "parent",
            "stages": ["s"],
            "jobs": [{"name": "j", "stage": "s", "kind": "Pipeline", "params": {"name": "held"}}],
        },
    ):
        site.store(each)
    terms = {"role": "submitter", "priority": 3, "max_running": 5}
    made = site.call("POST", "/v1/clients", {"client_id": "ann", **terms}).json()
    site.call("POST", "/v1/clients", {"client_id": "bob", "role": "viewer"})
    site.call("PATCH", "/v1/clients/bob", {"enabled": False})
    site.call("PUT", "/v1/partitions/split", {"slow": 50})
    hook: str = site.call("POST", "/v1/pipelines/speak/hooks").json()["path"]
    auth = ("ann", made["client_secret"])
    site.store(shell("anns", OLD, *speak), auth)
    return auth, hook


def begun(site: Site, auth: tuple[str, str]) -> dict[str, int]:
    """Start runs of every kind, and wait until each is where it can get; their ids by name."""
    runs = {name: site.start(name) for name in ("speak", "speak-new", "fail", "wait")}
    runs["anns"] = site.start("anns", auth)
    runs["cancelled"] = site.start("wait")
    site.call("POST", f"/v1/runs/{runs['cancelled']}/cancel")
    for name in ("speak", "speak-new", "fail", "anns", "cancelled"):
        site.wait_until_it_ends(runs[name])
    (runs["triggered"],) = site.runs_of("triggered")
    site.wait_until_it_ends(runs["triggered"])
    held = {name: site.start(name) for name in ("held", "held-new", "held-mortal")}
    for run in held.values():
        site.wait_until_it_runs(run)
    held["parent"] = site.start("parent")
    while len(site.runs_of("held")) == 1:
        pass
    held["child"] = site.runs_of("held")[-1]
    site.wait_until_it_runs(held["child"])
    held["held-next"] = site.start("held")  # Both slots are taken.
    return runs | held


ENDED: Final = ("speak", "speak-new", "fail", "anns", "cancelled", "triggered")
ENDED_JOBS, OPEN_JOBS = 9, 10


def seen(site: Site, runs: Mapping[str, int]) -> dict[str, Any]:
    """All that is to be the same."""
    paths = [*REPORTS]
    for name in ENDED:
        paths += [f"/v1/runs/{runs[name]}", f"/v1/runs/{runs[name]}/jobs"]
        paths += [f"/v1/jobs/{job['id']}/logs" for job in site.jobs(runs[name])]
    found = {path: lasting(site.get(path)) for path in paths}
    found["openapi"] = as_meant(site.call("GET", "/schema/openapi.json").text)
    return found


def lasting(answer: Any) -> Any:  # noqa: ANN401 - JSON.
    """An answer without estimates, which each process learns for itself."""
    if isinstance(answer, list):
        return [lasting(each) for each in answer]
    if not isinstance(answer, dict):
        return answer
    return {name: lasting(each) for name, each in answer.items() if name != "expected_seconds"}


def later(site: Site) -> dict[str, Any]:
    """What a process that has just started does not know yet: names of metrics, the split."""
    metrics = site.get("/metrics").splitlines()
    return {
        "metrics": [line for line in metrics if line[0] == "#" and "_created " not in line],
        "split": site.get("/v1/partitions/split")["slow"],
    }


def topics(flags: Sequence[str]) -> dict[str, int]:
    """On Kafka, if it is one: topics with the numbers of their partitions."""
    if not flags:
        return {}
    address, prefix = flags[1].removeprefix("kafka://"), flags[3]
    found = AdminClient({"bootstrap.servers": address}).list_topics(timeout=60).topics
    return {name: len(t.partitions) for name, t in found.items() if name.startswith(prefix)}


@contextmanager
def upgraded(
    directory: Path, before: Version, now: Version, flags: Sequence[str]
) -> Iterator[Upgrade]:
    """Play it; the system of this version runs on until the block ends."""
    gate, ran = directory / "gate", directory / "ran"
    with ExitStack() as stack:
        site = Site(directory, stack, flags)
        stack.callback(gate.touch)  # Or workers would wait for their jobs.
        control = site.up(before)
        site.work(before, OLD, OLD, slots=2)
        mortal = site.work(before, MORTAL, MORTAL)
        site.work(now, NEW, NEW)
        auth, hook = stored(site, ran, gate)
        runs = begun(site, auth)
        site.wait_until_counted(ENDED_JOBS)
        was = seen(site, runs) | later(site) | {"topics": topics(flags)}
        control.kill()
        mortal.kill()
        control.wait()
        site.up(now)
        became = seen(site, runs) | {"topics": topics(flags)}
        gate.touch()
        site.work(now, "heir", MORTAL, LATER, slots=2)
        for run in runs.values():
            site.wait_until_it_ends(run)
        site.wait_until_counted(ENDED_JOBS + OPEN_JOBS)
        became |= later(site)
        yield Upgrade(
            site=site,
            before=before,
            now=now,
            runs=runs,
            was=was,
            became=became,
            auth=auth,
            hook=hook,
            ran=ran,
        )
