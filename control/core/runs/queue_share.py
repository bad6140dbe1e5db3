"""Decides whether more jobs of a client may wait: its own bound, and its share of QUEUE_SIZE.

QUEUE_SIZE is everybody's, first come, first served. Beyond it there is headroom, a tenth of it,
for clients that have little waiting: a client may have at most half of what is still free there
waiting altogether (dynamic thresholds: Choudhury and Hahne, "Dynamic queue length thresholds for
shared-memory packet switches", IEEE/ACM ToN 6(2), 1998). So no client fills the queue for the
others, and many greedy clients together never use the headroom up: each leaves half of the rest.
A client alone gets QUEUE_SIZE, and no job more.
"""

from control.model import limits


def headroom(queue_size: int) -> int:
    """Jobs that may wait beyond QUEUE_SIZE, of clients that have little waiting.

    Never more than twice QUEUE_SIZE, or a client alone would get a part of it.
    """
    least = min(limits.QUEUE_HEADROOM_MIN, 2 * queue_size)
    return max(queue_size // limits.QUEUE_HEADROOM_PART, least)


def refusal(
    client: str, asked: int, *, held: int, max_queued: int | None, waiting: int, queue_size: int
) -> str | None:
    """Why so many more jobs of a client may not wait; None: they may.

    `held`: its jobs that wait; `waiting`: those of all clients.
    """
    if asked <= 0:
        return None
    if max_queued is not None and held + asked > max_queued:
        return (
            f"{held} of {max_queued} jobs of {client} wait already (max_queued); "
            f"{asked} more do not fit"
        )
    after = waiting + asked
    if after <= queue_size:
        return None
    free = queue_size + headroom(queue_size) - after
    if 2 * (held + asked) <= free:
        return None
    return (
        f"{waiting} of {queue_size} jobs wait already (QUEUE_SIZE); {asked} more do not fit. "
        f"What is beyond that is for clients with little waiting: {client} has {held}"
    )
