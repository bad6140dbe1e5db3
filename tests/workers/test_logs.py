"""Decides what of an attempt's log is cut, and that every cut shows."""

import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from control.model import limits
from control.model.worker.wire import Log
from tests.workers.gateways import lease
from workers.logs import AttemptLog, LogBuffer, LogTrimmer
from workers.wakeup import Doorbell


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


def test_of_the_whole_both_ends_stay_and_one_notice_says_how_much_is_left_out() -> None:
    trimmer = LogTrimmer(head_bytes_max=10, tail_bytes_max=12)
    assert trimmer.feed("12345\n") == "12345\n"
    assert trimmer.feed("6789\n") == "6789"
    for number in range(100):
        assert trimmer.feed(f"line {number}\n") == ""
    last = trimmer.finish()
    assert last.endswith("]\nline 99\n")
    assert last.count("left out") == 1
    left_out = 1 + sum(len(f"line {number}\n") for number in range(99))
    assert f"{left_out} bytes are left out here" in last


@given(
    st.lists(st.text(alphabet="aö€\n\r", max_size=30), max_size=30),
    st.integers(0, 40),
    st.integers(1, 40),
)
def test_a_log_that_fits_is_whole_and_one_that_does_not_has_its_ends(
    texts: list[str], head: int, tail: int
) -> None:
    trimmer = LogTrimmer(head_bytes_max=head, tail_bytes_max=tail)
    kept = "".join(map(trimmer.feed, texts))
    last = trimmer.finish()
    whole = "".join(texts).encode()
    if "left out" not in last:
        assert (kept + last).encode() == whole
        return
    note, _, end = last[1:].partition("\n")
    left_out = int(note.split(": ")[1].split()[0])
    assert len(whole) > head + tail - 4  # A character may not fit into what is left of the head.
    assert whole.startswith(kept.encode())
    assert whole.endswith(end.encode())
    assert len(end.encode()) <= tail
    assert 0 <= len(whole) - len(kept.encode()) - len(end.encode()) - left_out <= 3


def test_a_progress_bar_is_many_lines() -> None:
    trimmer = LogTrimmer(line_bytes_max=20)
    bars = "".join(f"\r{percent:3} % done" for percent in range(101))
    said = trimmer.feed(bars[:300]) + trimmer.feed(bars[300:] + "\nfailed\n") + trimmer.finish()
    assert said == bars + "\nfailed\n"


def taken(buffer: LogBuffer) -> list[Log]:
    """What is sent now, and arrives."""
    frames = buffer.take(1000, limits.FRAME_BYTES_MAX)
    buffer.all_arrived(buffer.batches)
    return frames


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


async def test_what_has_not_arrived_is_sent_again_in_order() -> None:
    buffer = LogBuffer(Doorbell(), bytes_max=100)
    log = AttemptLog(lease(1), buffer)
    for number in range(4):
        await log.write(f"{number}\n")
        (frame,) = buffer.take(1, 1)
        assert frame.text == f"{number}\n"
        if number == 1:
            buffer.all_arrived(buffer.batches)
    await log.write("4\n")
    buffer.take_back()
    assert taken(buffer) == [Log(lease=lease(1), offset=4, text="2\n3\n4\n")]
    assert not buffer
    assert buffer.has_room(100)


async def test_what_is_under_way_takes_room_until_it_has_arrived() -> None:
    buffer = LogBuffer(Doorbell(), bytes_max=10)
    await AttemptLog(lease(1), buffer).write("12345678\n")
    buffer.take(1, 100)
    assert not buffer.has_room(2)
    assert lease(1) not in buffer  # Its result may be sent.
    assert buffer  # But the worker may not leave.
    buffer.arrived(lease(1))
    assert buffer.has_room(10)
    assert not buffer
