"""Decides how a message goes through a websocket: in pieces, between which others have their turn.

On a slow link a large message takes minutes; pings and pongs go between its pieces (RFC 6455, 5.4).
"""

from collections.abc import Iterator

from wsproto.events import BytesMessage

from control.model import limits


def pieces_of(message: bytes) -> Iterator[BytesMessage]:
    """The message as fragments, in order."""
    last = max(len(message) - 1, 0) // limits.PIECE_BYTES * limits.PIECE_BYTES
    for start in range(0, last + 1, limits.PIECE_BYTES):
        data = message[start : start + limits.PIECE_BYTES]
        yield BytesMessage(data=data, message_finished=start == last)
