"""Decides what of an attempt's log is cut, and that every cut shows."""

import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from control.model import limits
from control.model.wire import Log
from tests.workers.gateways import lease
from workers.doorbell import Doorbell
from workers.logs import AttemptLog, LogBuffer, LogTrimmer


@given(st.lists(st.text(st.sampled_from("aä€\n\r"), max_size=30)))
def test_text_within_the_limits_is_untouched(texts: list[str]) -> None:
    trimmer = LogTrimmer()
    assert [trimmer.feed(text) for text in texts] == texts
    assert trimmer.finish() == ""


@given(st.lists(st.text(st.sampled_from("aä€\n"), max_size=30)))
def test_lines_are_cut_alike_however_the_text_arrives(texts: list[str]) -> None:
    pieces, whole = LogTrimmer(line_bytes_max=8), LogTrimmer(line_bytes_max=8)
    cut = "".join(map(pieces.feed, texts)) + pieces.finish()
    assert cut == whole.feed("".join(texts)) + whole.finish()
    for line, before in zip(cut.split("\n"), "".join(texts).split("\n"), strict=True):
        if len(before.encode()) <= 8:
            assert line == before
        else:
            assert "more bytes of this line were dropped" in line


def test_the_whole_is_cut_and_says_how_much() -> None:
    trimmer = LogTrimmer(attempt_bytes_max=10)
    assert trimmer.feed("12345\n") == "12345\n"
    assert trimmer.feed("12345\n") == "1234"
    assert trimmer.feed("123\n") == ""
    assert "6 more bytes" in trimmer.finish()


def taken(buffer: LogBuffer) -> list[Log]:
    return buffer.take(1000, limits.FRAME_BYTES_MAX)


async def test_texts_that_follow_each_other_become_one_frame() -> None:
    buffer = LogBuffer(Doorbell())
    log = AttemptLog(lease(1), buffer)
    await log.write("one\n")
    await log.write("zwö\n")
    log.finish()
    assert taken(buffer) == [Log(lease=lease(1), offset=0, text="one\nzwö\n")]
    assert log.size == 9
    assert not buffer


async def test_long_text_is_cut_into_frames_with_offsets() -> None:
    buffer = LogBuffer(Doorbell())
    text = "€" * 1000 + "\n"
    log = AttemptLog(lease(1), buffer)
    for _ in range(50):
        await log.write(text)
    frames = taken(buffer)
    assert "".join(frame.text for frame in frames) == text * 50
    at = 0
    for frame in frames:
        assert frame.offset == at
        at += len(frame.text.encode())
        assert len(frame.text.encode()) <= limits.LOG_CHUNK_BYTES_MAX


async def test_a_slow_link_makes_a_gap_that_shows(autojump_clock: MockClock) -> None:
    buffer = LogBuffer(Doorbell(), bytes_max=10)
    log = AttemptLog(lease(1), buffer)
    await log.write("12345678\n")
    with trio.fail_after(limits.LOG_WAIT_S * 1.5):  # Virtual; only the first loss is waited for.
        await log.write("lost it\n")
        await log.write("lost\n")
    assert [frame.text for frame in taken(buffer)] == ["12345678\n"]
    await log.write("again\n")
    log.finish()
    (after,) = taken(buffer)
    assert after.offset == 9 + 8 + 5
    assert after.text.startswith("again\n")
    assert "13 bytes were dropped" in after.text
    assert log.size == after.offset + len(after.text.encode())


async def test_a_job_waits_for_a_link_that_is_only_a_moment_slow(
    autojump_clock: MockClock,
) -> None:
    buffer = LogBuffer(Doorbell(), bytes_max=10)
    log = AttemptLog(lease(1), buffer)
    await log.write("12345678\n")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(log.write, "kept\n")
        await wait_all_tasks_blocked()
        taken(buffer)
    assert [frame.text for frame in taken(buffer)] == ["kept\n"]


async def test_what_is_no_longer_ours_is_forgotten() -> None:
    buffer = LogBuffer(Doorbell())
    await AttemptLog(lease(1), buffer).write("one\n")
    assert lease(1) in buffer
    buffer.forget(lease(1))
    assert taken(buffer) == []
    assert buffer.has_room(limits.LOG_BUFFER_BYTES_MAX)
