"""Owns what the demo does, in order: a mix of work, two kill -9 in the middle, and the count."""

import subprocess
from pathlib import Path
from typing import Final

import msgspec
import trio

from bench.demo.calls import DemoCalls
from bench.demo.count import DemoCount, counted
from bench.demo.live import FAST, LiveBoard
from bench.demo.printing import DemoPrinter
from bench.demo.processes import CONTROL, SLOTS, DemoSystem, tool
from bench.demo.records import done_jobs, ended_lines, facts_of, lines_of
from bench.servers.system import percentile
from control.model.states import Outcome

PIPELINES: Final = Path(__file__).parents[2] / "examples" / "demo"
_SLOW: Final = "video"
_FAST_PER_S: Final = 30.0
_SLOW_RUNS: Final = 64
_SLOW_S: Final = (3.0, 2.0, 4.0, 2.5, 3.5)  # Of different lengths, so that not all end at once.
_MIX_S: Final = 3.0  # Before the urgent run, and after it.
_AFTER_S: Final = 2.0  # Of work after the restart.
_LIVE_EVERY_S: Final = 0.25


class _Attempt(msgspec.Struct, frozen=True):
    error: str | None


class _TriedJob(msgspec.Struct, frozen=True):
    state: str
    attempts: list[_Attempt]


class DemoStory:
    """Runs the demo on a system whose control plane is up. `scale`: how much of it; 1: all."""

    def __init__(
        self, system: DemoSystem, calls: DemoCalls, printer: DemoPrinter, scale: float
    ) -> None:
        self._system = system
        self._calls = calls
        self._out = printer
        self._scale = scale
        self._board = LiveBoard(lambda: len(calls.runs))
        self._enough = trio.Event()  # No more fast runs are started.
        self._undisturbed: set[int] = set()  # Jobs that began before the first kill.
        self._down: tuple[float, int] | None = None  # Since when, and what had ended by then.

    async def run(self) -> DemoCount:
        """All of it; gives what was counted."""
        for name, content in _definitions().items():
            await self._calls.store(name, content)
        async with trio.open_nursery() as nursery:
            await nursery.start(self._board.follow, self._calls, lambda: self._system.up)
            async with trio.open_nursery() as traffic:
                traffic.start_soon(self._start_fast_runs)
                await self._board.until(lambda: self._board.has_learned)
                nursery.start_soon(self._show_live)
                model = await self._mix()
                await self._kill_worker()
                await self._explain(model)
                await self._kill_control()
                self._enough.set()
            await self._board.until(lambda: not self._board.counts.open_runs)
            nursery.cancel_scope.cancel()
        self._out.end_live()
        return await self._count()

    async def _start_fast_runs(self) -> None:
        # Never cancelled within a call: we would not know whether the run was accepted.
        while not self._enough.is_set():
            await self._calls.start(FAST)
            with trio.move_on_after(1 / _FAST_PER_S):
                await self._enough.wait()

    async def _show_live(self) -> None:
        while True:
            counts, runs = self._board.counts, self._board.runs
            if self._down is None and runs:
                self._out.live(
                    f"{max(runs - counts.open_runs, 0)} of {runs} runs done, waiting "
                    f"{counts.waiting}, running {counts.running}, fast p95 wait "
                    f"{self._board.fast_p95_ms:.0f} ms"
                )
            elif self._down is not None:
                since, before = self._down
                ended = ended_lines(self._system.journal) - before
                self._out.live(
                    f"no control plane since {trio.current_time() - since:.1f} s, jobs that ended "
                    f"meanwhile: {ended}"
                )
            await trio.sleep(_LIVE_EVERY_S)

    async def _mix(self) -> int:
        """Fast, slow, urgent, and failing work; gives the run that waits for a special worker."""
        out, calls, board = self._out, self._calls, self._board
        slow = max(round(_SLOW_RUNS * self._scale), SLOTS)
        out.heading("2  Fast, slow, and urgent work at once: slow jobs do not hold up fast ones")
        out.line(
            f"{_FAST_PER_S:.0f} fast runs a second (10 ms), beside {slow} slow ones (2 to 4 s), on "
            f"{2 * SLOTS} slots."
        )
        await calls.start_many(_SLOW, [_SLOW_S[number % len(_SLOW_S)] for number in range(slow)])
        report, model = await calls.start("report"), await calls.start("model")
        await trio.sleep(_MIX_S * self._scale)
        waiting, begin = board.counts.waiting, trio.current_time()
        urgent = await calls.start(_SLOW, priority=1)
        await board.until(lambda: any(job.started_at for job in board.of_run(urgent)))
        out.line(
            f"One more slow run, urgent (priority 1), came behind {waiting} waiting jobs: "
            f"it began after {trio.current_time() - begin:.2f} s."
        )
        await trio.sleep(_MIX_S * self._scale)
        await board.until(lambda: board.has_ended(report, calls.runs[report]))
        await self._tell_failure(report)
        return model

    async def _tell_failure(self, report: int) -> None:
        out = self._out
        out.heading("3  A job that fails: it is tried again, and the next stage waits for it")
        first, second = self._board.of_run(report)
        found = await self._calls.get(f"/v1/jobs/{first.id}")
        tried = msgspec.convert(found, _TriedJob)
        error = tried.attempts[0].error if tried.attempts else "nothing"
        out.line(
            f"{first.name}, attempt 1: {error}. Attempt {first.attempt}, a second later: "
            f"{tried.state}. Then {second.name}: {second.state}."
        )

    async def _kill_worker(self) -> None:
        out, board = self._out, self._board
        self._undisturbed = {job.id for job in board.jobs.values() if job.started_at}
        interrupted = board.executed_by("w2")
        out.heading("4  kill -9 of worker w2: its jobs get other workers")
        begin = trio.current_time()
        await self._system.kill("w2")
        await board.until(lambda: all(board.has_moved(job) for job in interrupted))
        out.line(
            f"It was executing {len(interrupted)} slow jobs. After "
            f"{trio.current_time() - begin:.1f} s each had a new attempt; w1 goes on with all."
        )

    async def _explain(self, model: int) -> None:
        out, board = self._out, self._board
        out.heading("5  A job that waits: anybody can ask why")
        await board.until(lambda: len(board.of_run(model)) == 1)
        (job,) = board.of_run(model)
        command = [tool("tpctl"), "--data-dir", str(self._system.data_dir)]
        command += ["job", "explain", str(job.id)]
        out.line(f"$ tpctl job explain {job.id}")
        told = await trio.run_process(command, capture_stdout=True, stderr=subprocess.STDOUT)
        for line in told.stdout.decode().splitlines():
            out.dim(line)
        begin = trio.current_time()
        await self._system.start_worker("w3", "--label", "gpu")
        await board.until(lambda: board.has_ended(model, 1))
        out.line(
            f"So w3 is started in the place of w2, with the label gpu: job {job.id} is "
            f"{board.jobs[job.id].state} {trio.current_time() - begin:.1f} s later."
        )

    async def _kill_control(self) -> None:
        out, journal = self._out, self._system.journal
        out.heading("6  kill -9 of the control plane: what was accepted is on the disk")
        before, begin = ended_lines(journal), trio.current_time()
        self._down = begin, before
        await self._system.kill(CONTROL)
        await self._system.start_control()
        ended = ended_lines(journal) - before
        self._down = None
        out.line(
            f"Started again on the same directory: ready after {trio.current_time() - begin:.1f} s."
        )
        out.line(
            f"Meanwhile the workers went on: {ended} jobs ended, and their results waited there."
        )
        await trio.sleep(_AFTER_S * self._scale)

    async def _count(self) -> DemoCount:
        out, runs = self._out, self._calls.runs
        out.heading("7  The count, from records that are made apart from each other")
        done = await done_jobs(self._calls)
        facts = await facts_of(self._calls, sum(runs.values()))
        count = counted(runs, done, facts, lines_of(self._system.journal))
        out.line(f"API         {len(runs)} runs with {count.submitted} jobs were accepted")
        out.line(f"state       {count.done} of these jobs are DONE")
        out.line(f"statistics  {count.results} results count, of {count.with_result} jobs")
        out.line(
            f"the jobs    wrote that {count.attempts} attempts began: {count.succeeded} succeeded, "
            f"{count.failed} failed, {count.interrupted} lost their worker"
        )
        redone = f", of which {count.redone} had just ended" if count.redone else ""
        out.line(
            f"What a kill interrupts is done again ({count.interrupted} attempts{redone}); its "
            "result counts once."
        )
        waits = [fact for fact in facts if fact.outcome is Outcome.DONE]
        fast = [fact for fact in waits if fact.pipeline == FAST]
        calm = [fact.wait_s or 0.0 for fact in fast if fact.job in self._undisturbed]
        slow = [fact.wait_s or 0.0 for fact in waits if fact.pipeline == _SLOW]
        out.line(
            f"Fast jobs waited {percentile(calm, 0.95) * 1000:.0f} ms (p95) until the first kill, "
            f"at most {max(fact.wait_s or 0.0 for fact in fast):.1f} s through both; slow ones "
            f"{percentile(slow, 0.5):.1f} s (p50)."
        )
        return count


def _definitions() -> dict[str, bytes]:
    return {file.stem: file.read_bytes() for file in PIPELINES.glob("*.yaml")}
