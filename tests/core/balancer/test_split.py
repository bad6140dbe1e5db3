"""Decides how partitions are divided: as set, or as the mix goes, without going back and forth."""

from hypothesis import given
from hypothesis import strategies as st

from control.core.balancer.split import PartitionSplit
from control.model.states import Speed


def slow(split: PartitionSplit) -> int:
    return split.classes.count(Speed.SLOW)


def test_a_share_that_is_set_stays() -> None:
    split = PartitionSplit(10, 0.6, 0.6)
    for _ in range(100):
        assert not split.follow([(60.0, 100.0)], 1.0)
    assert slow(split) == 6
    split.set(0.3)
    assert (slow(split), split.share, split.auto) == (3, 0.3, False)


def test_auto_starts_where_it_was_and_goes_where_the_work_is() -> None:
    split = PartitionSplit(10, None, 0.6)
    assert (slow(split), split.auto) == (6, True)
    mix = [(0.1, 100.0), (10.0, 9.0)]  # 10 s of fast work, 90 s of slow.
    changes = sum(split.follow(mix, 1.0) for _ in range(100))
    assert slow(split) in {8, 9}
    assert 1 <= changes <= 3
    split.set(0.2)
    split.set(None)
    assert (slow(split), split.auto) == (2, True)  # It goes on from there.
    for _ in range(100):
        split.follow(mix, 1.0)
    assert slow(split) in {8, 9}


def test_without_news_nothing_moves() -> None:
    split = PartitionSplit(10, None, 0.6)
    assert not split.follow([], 1.0)
    assert slow(split) == 6


@given(share=st.floats(0, 1), noise=st.lists(st.floats(-0.04, 0.04), min_size=50, max_size=50))
def test_a_mix_that_wavers_moves_nothing_for_long(share: float, noise: list[float]) -> None:
    split = PartitionSplit(10, None, 0.6)

    def look(at: float) -> bool:
        slow_work = min(max(at, 0.0), 1.0)
        return split.follow([(0.1, (1 - slow_work) / 0.1), (10.0, slow_work / 10.0)], 1.0)

    for _ in range(50):
        look(share)
    assert sum(look(share + each) for each in noise) <= 1
    assert abs(split.share - share) <= 0.15


@given(partitions=st.integers(2, 40), work=st.lists(st.floats(0, 1), max_size=40))
def test_each_class_keeps_a_partition(partitions: int, work: list[float]) -> None:
    split = PartitionSplit(partitions, None, 0.6)
    for each in work:
        before = split.classes
        changed = split.follow([(0.1, 1 - each), (10.0, each)], 1.0)
        assert changed == (split.classes != before)
        assert 1 <= slow(split) <= partitions - 1 or split.share in {0.0, 1.0}
