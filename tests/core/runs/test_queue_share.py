"""Decides that no client, nor many of them, can fill the queue for the others."""

from collections import Counter

from hypothesis import assume, given
from hypothesis import strategies as st

from control.core.runs.queue_share import headroom, refusal

SIZES = st.integers(1, 5_000)


def fits(queue_size: int, held: Counter[str], client: str, asked: int = 1) -> bool:
    problem = refusal(
        client,
        asked,
        held=held[client],
        max_queued=None,
        waiting=held.total(),
        queue_size=queue_size,
    )
    return problem is None


@given(SIZES, st.integers(1, 200))
def test_a_client_alone_has_the_queue_and_no_job_more(queue_size: int, portion: int) -> None:
    held: Counter[str] = Counter()
    while fits(queue_size, held, "ann", portion):
        held["ann"] += portion
    assert held["ann"] == queue_size // portion * portion
    while fits(queue_size, held, "ann"):
        held["ann"] += 1
    assert held["ann"] == queue_size


@given(SIZES, st.lists(st.tuples(st.integers(0, 9), st.integers(1, 500)), max_size=200))
def test_what_waits_is_bounded_whatever_who_asks(
    queue_size: int, asked: list[tuple[int, int]]
) -> None:
    held: Counter[str] = Counter()
    for client, count in asked:
        if fits(queue_size, held, str(client), count):
            held[str(client)] += count
    assert held.total() <= queue_size + headroom(queue_size)
    assert headroom(queue_size) <= max(queue_size // 10, 20)


@given(st.integers(10, 5_000), st.integers(1, 6))
def test_who_has_nothing_waiting_gets_in_after_some_greedy_ones(
    queue_size: int, greedy: int
) -> None:
    """Each of them takes all that it can get, one after the other."""
    held: Counter[str] = Counter()
    for client in map(str, range(greedy)):
        while fits(queue_size, held, client):
            held[client] += 1
    assert fits(queue_size, held, "late")


@given(SIZES, st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 2_000)))
def test_who_has_less_waiting_is_never_refused_what_another_gets(
    queue_size: int, counts: dict[str, int]
) -> None:
    held = Counter(counts)
    assume(len(counts) > 1)
    least, most = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
    if fits(queue_size, held, most):
        assert fits(queue_size, held, least)


@given(st.integers(0, 50), st.integers(0, 50), st.integers(1, 50))
def test_a_clients_own_bound_holds_besides(held: int, most: int, asked: int) -> None:
    problem = refusal("ann", asked, held=held, max_queued=most, waiting=held, queue_size=1_000_000)
    assert (problem is None) == (held + asked <= most)
    assert problem is None or "max_queued" in problem


def test_nothing_more_always_fits() -> None:
    assert refusal("ann", 0, held=9, max_queued=1, waiting=99, queue_size=10) is None
    assert refusal("ann", -3, held=9, max_queued=1, waiting=99, queue_size=10) is None
