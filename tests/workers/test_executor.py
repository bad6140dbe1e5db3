"""Decides how attempts are executed and how each of their ends is reported, without a network."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, ClassVar

import msgspec
import trio
from msgspec import Meta, Raw
from trio.testing import MockClock, wait_all_tasks_blocked

from control.model import limits
from control.model.errors import JobFailed
from control.model.kinds import Job, Kind, Reporter, Result
from control.model.states import Outcome
from control.model.surroundings.base import Surroundings
from control.model.surroundings.shell import ShellCommand
from control.model.worker.wire import Began, Cancel, Ended, Log, ToWorker
from tests.workers.gateways import WELCOME, assign, decoded, encoded, lease
from workers.executor import Executor
from workers.kinds.sleep import Sleep
from workers.logs import LogBuffer
from workers.protocol import WorkerIdentity, WorkerProtocol
from workers.protocol_events import Assigned, Stop
from workers.trouble import starting
from workers.wakeup import Doorbell


class ProbeParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a test wants to happen."""

    command: Annotated[str, Meta(min_length=1)]
    number: int = 0
    words: list[str] | str | None = None
    texts: dict[str, str] = {}
    free: str | int = ""


class Probe(Kind[ProbeParams]):
    """Does what a test says."""

    name: ClassVar[str] = "Probe"
    version: ClassVar[str] = "1.0.0"
    summary: ClassVar[str] = "For tests."
    params = ProbeParams
    surroundings: ClassVar[Mapping[str, Surroundings]] = {"command": ShellCommand()}
    wants_directory: ClassVar[bool] = True

    def __init__(self) -> None:
        self.jobs: list[tuple[Job, ProbeParams]] = []
        self.closed = False

    async def run(self, job: Job, params: ProbeParams, report: Reporter) -> Result:
        self.jobs.append((job, params))
        match params.command:
            case "bug":
                raise RuntimeError("surprise")
            case "big":
                return Result(output=Raw(b" " * (limits.OUTPUT_BYTES_MAX + 1)))
            case "broken":
                return Result(output=Raw(b'{"rate":NaN}'))
            case "lines":
                return Result(
                    output=Raw(b'{\r\n"a":\n"x\\ny"}'), exit_code=0, details=Raw(b"[\n1]")
                )
            case "hopeless":
                raise JobFailed("no such table", final=True, details=Raw(b'{"rows":0}'))
            case "files":
                (job.directory / "deep").mkdir()
                (job.directory / "deep" / "file").touch()
            case "sick":
                with starting("the probe"):
                    raise OSError(28, "full")
            case "talk":
                await report.log("hello\n")
                await report.progress(0.5)
                await trio.sleep(1)
            case "untidy":
                try:
                    await trio.sleep_forever()
                finally:
                    raise ValueError("while cleaning up")
        return Result()

    async def aclose(self) -> None:
        self.closed = True


class Bench:
    """An executor, and the gateway's side of its protocol."""

    def __init__(self, directory: Path, slots: int) -> None:
        self.bell = Doorbell()
        self.probe = Probe()
        identity = WorkerIdentity(worker="w", host="h", slots=slots, labels=(), kinds={})
        self.protocol = WorkerProtocol(identity, LogBuffer(self.bell))
        self.protocol.hello(0)
        self.directory = directory
        self.executor = Executor(
            slots=slots,
            kinds={
                ("Sleep", "1.0.0"): Sleep(),  # type: ignore[dict-item]
                ("Probe", "1.0.0"): self.probe,  # type: ignore[dict-item]
            },
            protocol=self.protocol,
            bell=self.bell,
            directory=directory,
            now_ms=lambda: round(trio.current_time() * 1000),
        )
        self.told: list[object] = []
        self.receive(WELCOME)

    def receive(self, *frames: ToWorker) -> None:
        for event in self.protocol.receive(encoded(*frames), 0):
            match event:
                case Assigned():
                    self.executor.wake()
                case Stop():
                    self.executor.stop(event.lease, event.reason)

    async def settled(self) -> list[object]:
        """Let everything happen that happens now; return what the gateway is told then."""
        await wait_all_tasks_blocked()
        self.protocol.unkept()
        fresh: list[object] = []
        while (message := self.protocol.take()) is not None:
            fresh += decoded(message)
        self.told += fresh
        return fresh

    async def result(self, job_id: int) -> Ended:
        """Wait (in virtual time) for a job's result."""
        while True:
            await self.settled()
            for frame in self.told:
                if isinstance(frame, Ended) and frame.lease == lease(job_id):
                    return frame
            await trio.sleep(0.1)


@asynccontextmanager
async def bench(directory: Path, slots: int = 2) -> AsyncIterator[Bench]:
    made = Bench(directory, slots)
    async with trio.open_nursery() as nursery:
        await nursery.start(made.executor.run)
        yield made
        nursery.cancel_scope.cancel()
    assert made.probe.closed
    assert not list(await trio.Path(directory).iterdir())


async def probe(tmp_path: Path, command: str, **more: object) -> tuple[Ended, Bench]:
    async with bench(tmp_path) as made:
        made.receive(assign(1, {"command": command, **more}, kind="Probe"))
        return await made.result(1), made


async def test_many_jobs_that_never_wait_go_out_together(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with bench(tmp_path, slots=3) as made:
        made.protocol.confirmed()  # The link carries long messages.
        made.receive(*(assign(number) for number in range(200)))
        told = await made.settled()
        assert [type(frame) for frame in told] == [Ended] * 200
        assert [frame.lease.job_id for frame in told if isinstance(frame, Ended)] == [*range(200)]


async def test_no_more_run_than_there_are_slots_and_the_first_come_first(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with bench(tmp_path, slots=2) as made:
        made.receive(*(assign(number, {"seconds": 10}) for number in range(5)))
        began = await made.settled()
        assert [frame.lease.job_id for frame in began if isinstance(frame, Began)] == [0, 1]
        ended = await made.result(4)
        assert (ended.duration, ended.started_ms) == (10.0, 20_000)


async def test_a_time_out(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with bench(tmp_path, slots=1) as made:
        made.receive(assign(1, {"seconds": 60}, timeout=2.5), assign(2, timeout=5))
        ended = await made.result(1)
        assert (ended.outcome, ended.error) == (Outcome.TIMED_OUT, "timed out after 2.5 s")
        assert ended.duration == 2.5
        assert (await made.result(2)).outcome is Outcome.DONE  # The slot goes on.


async def test_a_cancelled_attempt_frees_its_slot(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with bench(tmp_path, slots=1) as made:
        made.receive(assign(1, {"seconds": 60}), assign(2))
        await made.settled()
        made.receive(Cancel(lease=lease(1), reason="cancelled by ada"))
        ended = await made.result(1)
        assert (ended.outcome, ended.error) == (Outcome.CANCELLED, "cancelled by ada")
        assert (await made.result(2)).outcome is Outcome.DONE


async def test_failures_in_words(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with bench(tmp_path) as made:
        for number, (kind, params, words) in enumerate(
            [
                ("Sleep", {"seconds": 0, "fail": True}, "as its params say"),
                ("Sleep", {"seconds": "x"}, "the params do not fit Sleep 1.0.0"),
                ("Sleep", {}, "missing required field `seconds`"),
                ("Sleep", {"seconds": 0, "more": 1}, "unknown field `more`"),
                ("Nothing", {}, "this worker has no kind Nothing 1.0.0"),
                ("Probe", {"command": "bug"}, "unexpected error in kind Probe: RuntimeError: surp"),
                ("Probe", {"command": "big"}, "the output has"),
                ("Probe", {"command": "broken"}, "the output is not JSON"),
                ("Sleep", {"seconds": "${{ run.nothing }}"}, "names nothing"),
            ]
        ):
            made.receive(assign(number, params, kind=kind))
            ended = await made.result(number)
            assert ended.outcome is Outcome.FAILED
            assert words in (ended.error or "")
            params_are_wrong = kind == "Sleep" and "as its params say" not in words
            assert (ended.final is True) == params_are_wrong


async def test_what_cannot_succeed_says_so(tmp_path: Path, autojump_clock: MockClock) -> None:
    ended, _ = await probe(tmp_path, "hopeless")
    assert (ended.outcome, ended.error, ended.final) == (Outcome.FAILED, "no such table", True)
    assert ended.details == Raw(b'{"rows":0}')


async def test_a_kinds_bug_leaves_its_traceback_in_the_log(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    ended, made = await probe(tmp_path, "bug")
    (log,) = [frame for frame in made.told if isinstance(frame, Log)]
    assert "RuntimeError: surprise" in log.text
    assert ended.log_bytes == len(log.text.encode())


async def test_a_bug_in_cleaning_up_does_not_hide_the_time_out(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with bench(tmp_path, slots=1) as made:
        made.receive(assign(1, {"command": "untidy"}, kind="Probe", timeout=1), assign(2))
        assert (await made.result(1)).outcome in {Outcome.TIMED_OUT, Outcome.FAILED}
        assert (await made.result(2)).outcome is Outcome.DONE


async def test_an_output_is_one_line_and_unchanged(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    ended, _ = await probe(tmp_path, "lines")
    assert b"\n" not in bytes(ended.output)
    assert msgspec.json.decode(ended.output) == {"a": "x\ny"}
    assert ended.details == Raw(b"[ 1]")
    assert ended.exit_code == 0


async def test_a_jobs_directory_is_gone_with_all_in_it(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    _, made = await probe(tmp_path, "files")
    ((job, _),) = made.probe.jobs
    assert job.directory.is_relative_to(tmp_path)


async def test_templates_keep_types_and_become_variables_where_a_shell_reads(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    data = {"run": {"n": 5, "text": "it's; rm"}, "jobs": {"a": [1]}}
    params = {"command": "echo ${{ run.text }}", "number": "${{ run.n }}"}
    async with bench(tmp_path) as made:
        made.receive(assign(1, params, kind="Probe", env={"A": "a ${{ jobs.a }}"}, job_input=data))
        await made.result(1)
    ((job, filled),) = made.probe.jobs
    ((variable, value),) = ((k, v) for k, v in job.env.items() if k != "A")
    assert filled == ProbeParams(command=f'echo "${{{variable}}}"', number=5)
    assert (job.env["A"], value) == ("a [1]", "it's; rm")


async def test_log_and_progress_are_told_while_it_runs(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with bench(tmp_path) as made:
        made.receive(assign(1, {"command": "talk"}, kind="Probe"))
        names = [type(frame).__name__ for frame in await made.settled()]
        assert names == ["Began", "Progress", "Log"]


async def test_the_pulse_stops_when_work_waits_for_slots_that_rest(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with bench(tmp_path, slots=1) as made:
        await wait_all_tasks_blocked()
        assert made.executor.pulse()
        made.protocol.receive(encoded(assign(1)), 0)  # And nobody wakes a slot.
        assert not made.executor.pulse()
        made.executor.wake()
        await wait_all_tasks_blocked()
        assert made.executor.pulse()


async def test_places_of_texts_take_any_scalar(tmp_path: Path, autojump_clock: MockClock) -> None:
    values = {"n": 5, "half": 0.5, "yes": True, "nothing": None, "list": [1, "a", False]}
    async with bench(tmp_path) as made:
        params = {
            "command": "talk",
            "words": "${{ run.list }}",
            "texts": {name: f"${{{{ run.{name} }}}}" for name in ("n", "half", "yes")},
            "free": "${{ run.n }}",
        }
        made.receive(assign(1, params, kind="Probe", job_input={"run": values, "jobs": {}}))
        assert (await made.result(1)).error is None
        ((_, read),) = made.probe.jobs
        assert read.words == ["1", "a", "false"]
        assert read.texts == {"n": "5", "half": "0.5", "yes": "true"}
        assert read.free == 5
        params["words"] = "${{ run.nothing }}"
        made.receive(assign(2, params, kind="Probe", job_input={"run": values, "jobs": {}}))
        await made.result(2)
        assert made.probe.jobs[1][1].words is None
