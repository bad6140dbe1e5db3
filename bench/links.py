"""A worker behind a link of 40 kB/s, and behind one that is cut every 1.5 s.

Jobs with outputs and logs of many times what one connection carries, and small ones beside them.
All results and logs must arrive whole, and nothing may be executed twice.
"""

import math
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import httpx
import trio
import typer

from bench.load.watching import all_ended
from bench.servers.bad_links import BadLink, bad_link
from bench.servers.fleet import ServiceProcess
from bench.servers.system import System, report, script, start_control

ENDS_S: Final = 900.0
_LARGE: Final = 2  # Jobs with much output and a long log,
_SMALL: Final = 40  # and with little.
_BYTES: Final = 900_000  # Of a large output.
_LINES: Final = 100_000  # Of a long log.


class LinkScenario(NamedTuple):
    """A link."""

    name: str
    bytes_per_s: float
    cut_after_s: float


SCENARIOS: Final = (
    LinkScenario("slow", 40_000, math.inf),
    LinkScenario("cut", math.inf, 1.5),
)


def main(
    only: Annotated[list[str] | None, typer.Option(help="This link; may be repeated.")] = None,
) -> None:
    """A line a link; exit code 1 when something is missing or came twice."""
    figures: dict[str, object] = {"bench": "links"}
    failed = False
    for scenario in SCENARIOS:
        if only and scenario.name not in only:
            continue
        directory = Path(tempfile.mkdtemp(prefix="tp-links-"))
        with start_control(directory / "data"):
            took_s, cuts, problems = trio.run(_carry, directory, scenario)
        figures |= {f"{scenario.name}_s": took_s, f"{scenario.name}_cuts": cuts}
        print(f"{scenario.name:<14} {took_s:6.1f} s  {cuts:>3} cuts  {'; '.join(problems) or 'ok'}")
        if problems:
            failed = True
            print(f"all is in {directory}")
        else:
            shutil.rmtree(directory)
    report(figures)
    if failed:
        raise typer.Exit(1)


async def _carry(directory: Path, scenario: LinkScenario) -> tuple[float, int, list[str]]:
    """Gives the seconds until all was done, how often the link was cut, and what is wrong."""
    system = System(directory / "data", [])
    link = BadLink(
        int(system.gateway.rpartition(":")[2]),
        bytes_per_s=scenario.bytes_per_s,
        cut_after_s=scenario.cut_after_s,
    )
    async with system.client() as client, bad_link(link):
        command = [script("tpworker"), "--url", f"ws://127.0.0.1:{link.port}", "--slots", "4"]
        command += ["--data-dir", str(directory / "data"), "--name", "far"]
        environ = {"XDG_STATE_HOME": str(directory / "state")}
        worker = ServiceProcess("far", command, directory / "far.log", "worker ready", environ)
        await trio.to_thread.run_sync(worker.start)
        began = trio.current_time()
        try:
            runs = await _submit(client, directory / "executions")
            problems = []
            with trio.move_on_after(ENDS_S) as scope:
                await all_ended(client)
            if scope.cancelled_caught:
                problems.append(f"not all was done after {ENDS_S:g} s")
            took_s = trio.current_time() - began
            problems += await _check(client, runs, directory / "executions")
        finally:
            await trio.to_thread.run_sync(worker.stop)
    return took_s, link.cuts, problems


async def _submit(client: httpx.AsyncClient, executions: Path) -> list[int]:
    note = f'echo "$TP_JOB_ID" >> {executions}'
    output = f"import sys; sys.stdout.write(chr(34) + chr(228) * {_BYTES // 2} + chr(34))"
    large = f"{note}; seq 1 {_LINES}; {sys.executable} -X utf8 -c '{output}' > $TP_OUTPUT"
    small = f"{note}; echo small; echo 1 > $TP_OUTPUT"
    runs = []
    for count, command in ((_LARGE, large), (_SMALL, small)):
        job = {"name": "j", "stage": "s", "kind": "Shell", "params": {"command": command}}
        body = {"pipeline": {"name": "links", "stages": ["s"], "jobs": [job]}}
        for _ in range(count):
            answer = await client.post("/v1/runs", json=body)
            runs.append(answer.raise_for_status().json()["id"])
    return runs


async def _check(client: httpx.AsyncClient, runs: list[int], executions: Path) -> list[str]:
    problems = []
    expected = [("ä" * (_BYTES // 2), "".join(f"{n + 1}\n" for n in range(_LINES)))] * _LARGE
    expected += [(1, "small\n")] * _SMALL  # type: ignore[list-item]
    executed = (await trio.Path(executions).read_text(encoding="ascii")).split()
    for run, (output, log) in zip(runs, expected, strict=True):
        answer = await client.get(f"/v1/runs/{run}/jobs")
        job: dict[str, Any] = answer.raise_for_status().json()["items"][0]
        text = (await client.get(f"/v1/jobs/{job['id']}/logs")).raise_for_status().text
        times = executed.count(str(job["id"]))
        if (job["state"], job["attempt"], times) != ("DONE", 1, 1):
            problems.append(f"job {job['id']} is {job['state']}, executed {times} times")
        if job["output"] != output:
            problems.append(f"the output of job {job['id']} is not what it wrote")
        if text != log:
            problems.append(f"the log of job {job['id']} has {len(text)} of {len(log)} characters")
    return problems


if __name__ == "__main__":
    typer.run(main)
