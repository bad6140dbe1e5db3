"""Decides how a result that is too long for one message of a bad link is cut."""

from control.model.worker.wire import Lease, Part


def part_of(lease: Lease, frame: bytes, offset: int, room: int) -> Part:
    """What follows `offset` in a result's frame, `room` bytes at most; no character is split."""
    text = frame[offset : offset + room].decode(errors="ignore")
    return Part(lease=lease, offset=offset, size=len(frame), text=text)
