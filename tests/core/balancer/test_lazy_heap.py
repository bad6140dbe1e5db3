"""Decides that of all offers each one's last counts, and the best that fits is found."""

from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from control.core.balancer.lazy_heap import Offers


class Offerer:
    def __init__(self, name: int) -> None:
        self.name = name
        self.entry = 0


@given(
    steps=st.lists(
        st.tuples(
            st.integers(0, 5), st.one_of(st.none(), st.integers(-3, 3)), st.sets(st.integers(0, 5))
        ),
        max_size=200,
    )
)
def test_the_first_that_fits_is_found_as_in_a_plain_list(
    steps: list[tuple[int, int | None, set[int]]],
) -> None:
    offers: Offers[Offerer] = Offers(count(1))
    all_of_them = [Offerer(name) for name in range(6)]
    model: dict[int, tuple[int, int]] = {}
    for at, (name, rank, fitting) in enumerate(steps):
        who = all_of_them[name]
        if rank is None:
            who.entry = 0  # So an offer is taken back.
            model.pop(name, None)
        else:
            offers.offer(who, rank)
            model[name] = (rank, at)
        expected = (
            min((place, name) for name, place in model.items() if name in fitting)
            if any(name in fitting for name in model)
            else None
        )
        found = offers.first(lambda each, fitting=fitting: each.name in fitting)  # type: ignore[misc]
        assert (found and found.name) == (expected and expected[1])
        first = offers.first_of_all()
        assert (first is None) == (not model)


def test_two_heaps_of_the_same_offerers_know_of_each_other_s_offers() -> None:
    numbers = count(1)
    fast: Offers[Offerer] = Offers(numbers)
    slow: Offers[Offerer] = Offers(numbers)
    who = Offerer(1)
    fast.offer(who, 1.0)
    slow.offer(who, 1.0)
    assert fast.first_of_all() is None
    assert slow.first_of_all() is who


def test_old_offers_are_swept() -> None:
    offers: Offers[Offerer] = Offers(count(1))
    few = [Offerer(name) for name in range(10)]
    for at in range(10_000):
        offers.offer(few[at % 10], float(-at))
    assert len(offers._heap) < 200  # noqa: SLF001
    assert offers.first_of_all() is few[9]
