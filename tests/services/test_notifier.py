"""Decides that each notice of a run is sent once, whatever happens between its end and that."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import trio
from trio.testing import MockClock

from control.model import limits
from control.model.bus.messages import JobReady, LogChunk
from control.model.bus.records import Record
from control.model.names import Topic
from control.model.numbers import RunId
from control.model.pipelines import NotifySpec, Pipeline
from control.model.states import Outcome, State, When
from control.services.job_logs import JobLogs
from control.services.notifier import Notifier
from store import retention
from store.log_files import LogFiles
from tests.services.hands import Hands
from tests.services.plane import Plane, inline, job, opened, pipeline


@asynccontextmanager
async def served(path: Path, **client: int) -> AsyncIterator[tuple[Plane, Hands, Notifier]]:
    """A plane with a trigger and logs, and a notifier that is not started yet."""
    async with opened(path) as (plane, nursery):
        if not plane.conn.execute("SELECT count(*) FROM clients").fetchone()[0]:
            plane.client("ann", **client)
        logs = JobLogs(plane.bus, LogFiles(path / "logs"), inline, inline)
        await nursery.start(logs.run)
        await nursery.start(plane.trigger.run)
        yield (
            plane,
            await Hands.join(plane),
            Notifier(plane.writer, plane.ledger, logs, plane.clock),
        )


def notified(*specs: NotifySpec) -> Pipeline:
    made = pipeline("nightly", job("load"), job("clean", "t", when=When.ALWAYS))
    return msgspec.structs.replace(made, notify=specs)


def text_of(ready: JobReady) -> dict[str, str]:
    found: dict[str, str] = msgspec.json.decode(ready.input)["run"]
    return found


async def test_a_failure_is_told_with_its_error_and_the_end_of_its_log(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with served(tmp_path) as (plane, hands, notifier):
        (run_id,) = await plane.submit(notified(NotifySpec(target="ops")))
        load = await hands.take()
        text = "connecting\nno such table: orders\n"
        chunk = LogChunk(job_id=load.job_id, attempt=1, offset=0, text=text)
        await plane.bus.publish([Record(Topic.TASK_RUN_LOGS, chunk, run_id)])
        await hands.end(load, Outcome.FAILED, error="exit code 1", exit_code=1, log_bytes=len(text))
        assert await notifier.run_once()
        await hands.end(await hands.take(), Outcome.DONE)
        assert plane.run(run_id).state == State.ERROR
        assert await notifier.run_once()
        notice = await hands.take()
        assert (notice.pipeline, notice.kind) == ("nightly.notice", "Notification")
        assert msgspec.json.decode(notice.work)["params"]["target"] == "ops"
        found = text_of(notice)
        assert found["title"] == f"nightly: ERROR (run {run_id})"
        assert "no such table: orders" in found["body"]
        assert f"tpctl job logs {load.job_id}" in found["body"]
        assert await notifier.run_once()
        assert len(plane.runs()) == 2
        # It fails, and changes nothing of the run that it is about.
        for _ in range(4):
            await hands.end(notice, Outcome.FAILED, error="not delivered to ops")
            if plane.runs()[1].state == State.ERROR:
                break
            notice = await hands.take()
        assert [each.state for each in plane.runs()] == [State.ERROR, State.ERROR]
        assert plane.run(run_id).reason == "load: exit code 1"


@pytest.mark.parametrize(
    ("outcome", "targets"),
    [
        (Outcome.DONE, {"good", "all"}),
        (Outcome.FAILED, {"bad", "all"}),
        (Outcome.CANCELLED, {"all"}),
    ],
)
async def test_who_is_told_depends_on_how_it_ended(
    tmp_path: Path, autojump_clock: MockClock, outcome: Outcome, targets: set[str]
) -> None:
    specs = (
        NotifySpec(target="bad"),
        NotifySpec(target="good", when=When.ON_SUCCESS),
        NotifySpec(target="all", when=When.ALWAYS),
    )
    async with served(tmp_path) as (plane, hands, notifier):
        await plane.submit(notified(*specs))
        await hands.end(await hands.take(), outcome, error="it was so")
        await hands.end(await hands.take(), Outcome.DONE)
        await notifier.run_once()
        found = [await hands.take() for _ in targets]
        assert {msgspec.json.decode(each.work)["params"]["target"] for each in found} == targets
        await hands.nothing(10)


async def test_its_own_text_may_name_what_jobs_may(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    own = NotifySpec(
        target="ops",
        when=When.ALWAYS,
        title="${{ this.pipeline }} ${{ states.load.state }}",
        body="${{ jobs.load.rows }} rows, as asked by ${{ run.a }}",
    )
    async with served(tmp_path) as (plane, hands, notifier):
        hostile = msgspec.Raw(b'{"rows":"${{ run.secret }}"}')
        found = []
        for output in (hostile, msgspec.Raw(b"{}")):
            await plane.submit(notified(own))
            await hands.end(await hands.take(), Outcome.DONE, output=output)
            await hands.end(await hands.take(), Outcome.DONE)
            await notifier.run_once()
            found.append(text_of(await hands.take()))
        filled, usual = found
        assert filled["title"] == "nightly DONE"
        assert filled["body"] == "${{ run.secret }} rows, as asked by 1"
        assert usual["body"].startswith("(Its own text could not be made: ")
        assert "tpctl run show" in usual["body"]


async def test_an_output_that_cannot_be_read_leaves_the_usual_text(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    own = NotifySpec(target="ops", when=When.ALWAYS, body="${{ jobs.load }}")
    async with served(tmp_path) as (plane, hands, notifier):
        await plane.submit(notified(own))
        await hands.end(await hands.take(), Outcome.DONE, output=msgspec.Raw(b"1e999"))
        await hands.end(await hands.take(), Outcome.DONE)
        await notifier.run_once()
        body = text_of(await hands.take())["body"]
        assert body.startswith("(Its own text could not be made: an output cannot be read: ")
        assert "tpctl run show" in body


async def test_text_of_its_own_that_is_too_long_is_cut(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    own = NotifySpec(
        target="ops",
        when=When.ALWAYS,
        title="${{ jobs.load }}",
        body=" ".join(["${{ jobs.load }}"] * 20),
    )
    async with served(tmp_path) as (plane, hands, notifier):
        await plane.submit(notified(own))
        output = msgspec.Raw(msgspec.json.encode("\x01" * 150_000))
        await hands.end(await hands.take(), Outcome.DONE, output=output)
        await hands.end(await hands.take(), Outcome.DONE)
        await notifier.run_once()
        notice = await hands.take()
        found = text_of(notice)
        assert (len(found["title"]), found["title"][-1]) == (limits.TEXT_CHARS_MAX, "…")
        assert (len(found["body"]), found["body"][-1]) == (limits.NOTICE_CHARS_MAX, "…")
        assert len(bytes(notice.input)) < limits.JOB_INPUT_BYTES_MAX


async def test_notices_of_a_full_queue_are_in_nobodys_way(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    ended = notified(NotifySpec(target="ops", when=When.ALWAYS))
    async with served(tmp_path, max_queued=2) as (plane, hands, notifier):
        plane.client("bob")
        for client in ("ann",) * (limits.NOTICE_PORTION + 1) + ("bob",):
            await plane.submit(ended, client=client)
            await hands.end(await hands.take(), Outcome.DONE)
            await hands.end(await hands.take(), Outcome.DONE)
        await plane.submit(pipeline("other", job("a"), job("b")))
        first, _ = await hands.take(), await hands.take()
        assert not await notifier.run_once()
        notice = await hands.take()
        assert (notice.pipeline, notice.client) == ("nightly.notice", "bob")
        await hands.end(first, Outcome.DONE)
        assert not await notifier.run_once()
        assert (await hands.take()).client == "ann"


async def test_logs_that_do_not_come_delay_no_other_notice(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with served(tmp_path) as (plane, hands, notifier):
        for _ in range(limits.NOTICE_PORTION):
            await plane.submit(notified(NotifySpec(target="ops")))
            await hands.end(await hands.take(), Outcome.FAILED, error="no", log_bytes=100)
            await hands.end(await hands.take(), Outcome.DONE)
        began_s = trio.current_time()
        assert await notifier.run_once()
        assert trio.current_time() - began_s < 2 * limits.NOTICE_LOG_S


async def test_a_notice_outlives_a_crash_and_waits_for_room(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with served(tmp_path, max_queued=2) as (plane, hands, _):
        await plane.submit(notified(NotifySpec(target="ops", when=When.ALWAYS)))
        await hands.end(await hands.take(), Outcome.DONE)
        await hands.end(await hands.take(), Outcome.DONE)
        await plane.submit(pipeline("other", job("a"), job("b")))
        first, second = await hands.take(), await hands.take()
    async with served(tmp_path) as (plane, hands, notifier):
        assert not await notifier.run_once()
        async with trio.open_nursery() as nursery:
            await nursery.start(notifier.run)
            await hands.end(first, Outcome.DONE)
            await hands.end(second, Outcome.DONE)
            assert (await hands.take()).pipeline == "nightly.notice"
            nursery.cancel_scope.cancel()


async def test_a_run_that_was_retried_meanwhile_is_told_of_at_its_end(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with served(tmp_path) as (plane, hands, notifier):
        (run_id,) = await plane.submit(notified(NotifySpec(target="ops", when=When.ALWAYS)))
        await hands.end(await hands.take(), Outcome.FAILED, error="no")
        await hands.end(await hands.take(), Outcome.DONE)
        await plane.writer.write(lambda tx: plane.ledger.retry_run(tx, RunId(run_id), now_ms=0))
        await notifier.run_once()
        assert len(plane.runs()) == 1
        await hands.end(await hands.take(), Outcome.DONE)
        await notifier.run_once()
        assert len(plane.runs()) == 2


async def test_a_run_that_is_deleted_meanwhile_is_passed_over(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    specs = (NotifySpec(target="a", when=When.ALWAYS), NotifySpec(target="b", when=When.ALWAYS))
    async with served(tmp_path) as (plane, hands, notifier):
        (run_id,) = await plane.submit(notified(*specs))
        load = await hands.take()
        await hands.end(load, Outcome.FAILED, error="no", log_bytes=100)  # Which never come.
        await hands.end(await hands.take(), Outcome.DONE)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(notifier.run_once)
            await trio.sleep(limits.LOG_LAST_S / 2)
            await plane.writer.write(lambda tx: retention.delete_run(tx.conn, RunId(run_id)))
        assert {each.pipeline for each in plane.runs()} <= {"nightly.notice"}


async def test_a_run_of_which_nothing_ran_has_its_notice(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with served(tmp_path) as (plane, hands, notifier):
        mend = pipeline("nightly", job("repair", when=When.ON_FAILURE))
        await plane.submit(
            msgspec.structs.replace(mend, notify=(NotifySpec(target="a", when=When.ON_SUCCESS),))
        )
        await notifier.run_once()
        assert (await hands.take()).pipeline == "nightly.notice"
