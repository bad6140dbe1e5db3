"""Sets the wall clock of a whole system while it runs, by hours and by months, there and back.

Needs libfaketime (Debian: `apt-get install libfaketime`). The steady clocks go on as they are.
After each step schedules must fire once for each nominal time, retries, deadlines, and time-outs
must come when they are due by the steady clock, no running job may be lost, and doctor must say
what happened. Run it on an idle machine: what is late by the load counts as well. The first line,
for which the clock stays, says how much that is.
"""

import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final

import httpx
import typer

from bench.servers.system import System, report, start_control

_STEPS_S: Final = (3_600, -3_600, 30 * 86_400, -30 * 86_400)
_PERIOD_S: Final = 5
_DELAY_S: Final = 12.0  # Of a retry, a deadline, and a time-out; the clock is set in between.
_BEFORE_S: Final = 5.0
_SETTLES_S: Final = 4.0  # Until the step is noticed, and what the clock left out was missed.
_LATE_S: Final = 2.0
_LOOK_S: Final = 0.05
_ENDS_S: Final = 90.0
_LIBRARY: Final = "usr/lib/*/faketime/libfaketimeMT.so.1"


class ShiftedClock:
    """The wall clock of the processes that have its environment."""

    def __init__(self, library: Path, file: Path) -> None:
        self._file = file
        self.ahead_s = 0
        self.set(0)
        self.environ = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_CACHE_DURATION": "1",  # Seconds until the file is read again.
            "NO_FAKE_STAT": "1",
        }

    def set(self, ahead_s: int) -> None:
        """From now on it is so far ahead of the true one."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{ahead_s:+d}\n", encoding="ascii")
        fresh.replace(self._file)
        self.ahead_s = ahead_s

    def now(self) -> datetime:
        """What it says."""
        return datetime.now(UTC) + timedelta(seconds=self.ahead_s)


def main(
    steps: Annotated[list[int] | None, typer.Option(help="Seconds; may be repeated.")] = None,
    library: Annotated[Path | None, typer.Option(help="libfaketimeMT.so.1")] = None,
) -> None:
    """A line each time the clock is set; exit code 1 when a check fails."""
    library = library or next(Path("/").glob(_LIBRARY), None)
    if library is None:
        print("libfaketime is not here: apt-get install libfaketime, or --library PATH")
        raise typer.Exit(2)
    directory = Path(tempfile.mkdtemp(prefix="tp-clocks-"))
    clock = ShiftedClock(library, directory / "clock")
    found: list[str] = []
    worst: dict[str, float] = {}
    # The local worker gets the same environment; its jobs do not.
    with start_control(directory / "data", "--workers", "8", environ=clock.environ):
        system = System(directory / "data", [])
        with httpx.Client(base_url=system.url, auth=system.auth, timeout=60) as client:
            schedule = {"cron": f"*/{_PERIOD_S} * * * * *", "missed": "none"}
            tick = _pipeline("tick", {"kind": "Sleep", "params": {"seconds": 0}})
            body = {**tick, "schedules": [schedule]}
            client.put("/v1/pipelines/tick", json=body).raise_for_status()
            time.sleep(_DELAY_S)  # The first nominal times are planned.
            for to_s in (0, *(to_s for step in steps or _STEPS_S for to_s in (step, 0))):
                errors, problems = _one(client, clock, to_s, directory)
                found += problems
                late = ", ".join(f"{name} {off_s:+.1f} s" for name, off_s in errors.items())
                print(f"to {to_s:+9d} s  {late}  {'; '.join(problems) or 'ok'}", flush=True)
                worst |= {name: max(worst.get(name, 0.0), abs(s)) for name, s in errors.items()}
            found += _check_doctor(client, 2 * len(steps or _STEPS_S))
    report({"bench": "clocks", **{f"{name}_off_s_max": s for name, s in worst.items()}})
    if found:
        print(f"all is in {directory}")
        raise typer.Exit(1)
    shutil.rmtree(directory)


def _pipeline(name: str, job: dict[str, Any], **fields: object) -> dict[str, Any]:
    job = {"name": "j", "stage": "s", **job}
    return {"name": name, "stages": ["s"], "jobs": [job], **fields}


def _one(
    client: httpx.Client, clock: ShiftedClock, to_s: int, directory: Path
) -> tuple[dict[str, float], list[str]]:
    """Set the clock in the middle of a retry's delay, a deadline, a time-out, and a long job.

    Gives by how many seconds these were off, and what is wrong.
    """
    starts = directory / "starts"
    starts.unlink(missing_ok=True)
    # By a clock that nothing sets.
    note = f"cut -d ' ' -f 1 /proc/uptime >> {starts}"
    shell = {"kind": "Shell", "params": {"command": f"{note}; exit 1"}, "retry_attempt": 1}
    retried = _submit(client, {**shell, "retry_delay": _DELAY_S, "retry_delay_max": _DELAY_S})
    sleep = {"kind": "Sleep", "params": {"seconds": 60}}
    ends = {
        "deadline": (_submit(client, sleep, timeout=_DELAY_S), time.monotonic()),
        "timeout": (_submit(client, {**sleep, "timeout": _DELAY_S}), time.monotonic()),
    }
    kept = _submit(client, {"kind": "Sleep", "params": {"seconds": _DELAY_S + _BEFORE_S}})
    time.sleep(_BEFORE_S)
    clock.set(to_s)
    first = clock.now() + timedelta(seconds=_SETTLES_S)
    with ThreadPoolExecutor(len(ends)) as pool:
        waits = {name: pool.submit(_wait, client, run) for name, (run, _) in ends.items()}
        errors = {name: waits[name].result() - ends[name][1] - _DELAY_S for name in ends}
    _wait(client, retried)
    _wait(client, kept)
    one, two = map(float, starts.read_text(encoding="ascii").split())
    errors["retry"] = two - one - _DELAY_S
    problems = [
        f"{name} is {off_s:+.1f} s off" for name, off_s in errors.items() if abs(off_s) > _LATE_S
    ]
    (job,) = client.get(f"/v1/runs/{kept}/jobs").json()["items"]
    if (job["state"], job["attempt"]) != ("DONE", 1):
        problems.append(f"a running job is {job['state']}, attempt {job['attempt']}")
    time.sleep(2 * _PERIOD_S)
    last = clock.now() - timedelta(seconds=_SETTLES_S)
    time.sleep(_PERIOD_S)
    return errors, problems + _check_schedule(client, first, last)


def _submit(client: httpx.Client, job: dict[str, Any], **fields: object) -> int:
    body = {"pipeline": _pipeline("clocks", job, **fields)}
    return int(client.post("/v1/runs", json=body).raise_for_status().json()["id"])


def _wait(client: httpx.Client, run: int) -> float:
    """Until it has ended; gives when that was."""
    deadline = time.monotonic() + _ENDS_S
    while client.get(f"/v1/runs/{run}").json()["state"] in {"READY", "IN_PROGRESS"}:
        if time.monotonic() > deadline:
            message = f"run {run} does not end"
            raise SystemExit(message)
        time.sleep(_LOOK_S)
    return time.monotonic()


def _check_schedule(client: httpx.Client, first: datetime, last: datetime) -> list[str]:
    """Each nominal time of this span has one run, and no nominal time has two."""
    runs: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        query = {"pipeline": "tick", "limit": "500"} | ({"cursor": cursor} if cursor else {})
        page = client.get("/v1/runs", params=query).raise_for_status().json()
        runs, cursor = runs + page["items"], page["next_cursor"]
    nominal = Counter(datetime.fromisoformat(run["scheduled_for"]) for run in runs)
    problems = [f"{at} was started {n} times" for at, n in nominal.items() if n > 1]
    due = _nominal_times(first, last)
    problems += [f"{at} was not started" for at in due if at not in nominal]
    return problems if due else [*problems, "nothing was due"]


def _nominal_times(first: datetime, last: datetime) -> Sequence[datetime]:
    begin = int(first.timestamp()) // _PERIOD_S + 1
    end = int(last.timestamp()) // _PERIOD_S
    return [datetime.fromtimestamp(each * _PERIOD_S, UTC) for each in range(begin, end + 1)]


def _check_doctor(client: httpx.Client, steps: int) -> list[str]:
    checks = client.get("/v1/doctor").raise_for_status().json()["items"]
    (clock,) = (check for check in checks if check["check"] == "wall clock")
    said = clock["detail"].count("the wall clock was set by")
    problems = [f"doctor speaks of {said} of {steps} steps"] if said != steps else []
    return problems + [f"{each['check']}: {each['detail']}" for each in checks if not each["ok"]]


if __name__ == "__main__":
    typer.run(main)
