"""Decides when a database was restored, and that no number of another life comes back."""

from hypothesis import given
from hypothesis import strategies as st

from control.core.epochs import (
    IDS_EACH,
    attempt_in,
    is_of_this_life,
    is_restored,
    last_id_before,
    last_unwitnessed,
    next_attempt,
    next_epoch,
    number_in_backup,
)
from control.model import limits
from control.model.life import DatabasePosition, KnownAttempts

NOW_MS = 1_796_000_000_000


def test_a_database_is_restored_when_it_lacks_commits_that_were_seen() -> None:
    stored = DatabasePosition(1, 50)
    assert not is_restored(stored, DatabasePosition(1, 50))
    assert not is_restored(
        stored, DatabasePosition(1, 49)
    )  # The process died before it wrote that.
    assert is_restored(stored, DatabasePosition(1, 51))
    assert is_restored(stored, DatabasePosition(2, 3))
    assert is_restored(DatabasePosition(2, 3), DatabasePosition(1, 50))  # Of another directory.


def test_without_a_witness_only_a_new_database_is_not_restored() -> None:
    assert not is_restored(DatabasePosition(1, 0), None)
    assert is_restored(DatabasePosition(1, 1), None)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2 * IDS_EACH)), max_size=6))
def test_no_two_lives_share_an_id(restores: list[tuple[int, int]]) -> None:
    # Backups of any earlier life, restored in any order; each life uses some ids.
    lives = [(1, 0, 1_000)]
    for which, used in restores:
        epoch, _, last = lives[which % len(lives)]
        witnessed = DatabasePosition(lives[-1][0], 1)
        made = next_epoch(DatabasePosition(epoch, 1), witnessed, last, NOW_MS)
        begin = last_id_before(made)
        assert all(begin >= end for _, _, end in lives)
        lives.append((made, begin, begin + min(used, IDS_EACH)))


def test_a_backup_on_two_hosts_in_turn_begins_two_lives() -> None:
    stored = DatabasePosition(1, 50)
    first = next_epoch(stored, None, 100, NOW_MS)
    second = next_epoch(stored, None, 100, NOW_MS + 600_000)
    assert 1 < first < second
    # Wherever it goes on, lives follow each other by ones.
    assert next_epoch(stored, DatabasePosition(second, 1), 100, NOW_MS) == second + 1
    assert next_epoch(DatabasePosition(second, 1), None, second * IDS_EACH, NOW_MS) == second + 1


@given(st.integers(0, limits.TIME_MS_MAX))
def test_ids_and_attempts_fit_whatever_the_clock_says(now_ms: int) -> None:
    epoch = last_unwitnessed(now_ms) + 1_000
    assert epoch > 1
    assert last_id_before(epoch + 1) < limits.NUMBER_MAX
    assert attempt_in(epoch, 999) < 2**31


@given(st.integers(2, 50), st.integers(1, 900))
def test_an_attempt_of_a_new_life_is_newer_than_all_before(epoch: int, attempt: int) -> None:
    assert attempt_in(epoch, attempt) > attempt_in(epoch - 1, attempt) > attempt


def test_an_end_counts_in_the_life_that_its_job_is_in() -> None:
    def counts(attempt: int, current: int, *over: int) -> bool:
        return is_of_this_life(attempt, KnownAttempts(current, over))

    assert not is_of_this_life(1, None)
    assert counts(1, 1)
    assert counts(1, 3)  # A retry is under way.
    assert counts(1, 1_005)
    restarted = attempt_in(2, 2)
    assert not counts(2, restarted)
    assert counts(1, restarted, 1)  # It was over when the backup was made.
    assert counts(restarted, restarted)
    assert counts(restarted, restarted + 1)
    assert not counts(restarted, attempt_in(3, restarted))


@given(st.integers(1, 50), st.integers(1, 900), st.integers(1, 3 * IDS_EACH))
def test_one_more_attempt_is_newer_than_all_its_job_may_have_had(
    epoch: int, attempt: int, job_id: int
) -> None:
    number = next_attempt(epoch, job_id, attempt)
    assert number > attempt
    if job_id <= last_id_before(epoch):
        # Of an earlier life, in which it was tried again as often as anybody likes.
        assert all(number > next_attempt(epoch - 1, job_id, each) for each in range(1, 999))
    assert next_attempt(epoch, job_id, number) == number + 1


@given(st.integers(2, 50), st.integers(1, 900), st.integers(0, 899))
def test_what_an_open_job_was_at_is_known_after_it_was_published_again(
    epoch: int, attempt: int, last_over: int
) -> None:
    over = min(last_over, attempt - 1)
    assert number_in_backup(epoch, attempt, over) == attempt  # Not published again, or not yet.
    assert number_in_backup(epoch, attempt_in(epoch, attempt), over) == attempt
    # It was published again before: of what it was at then, only what is over is known.
    once_more = attempt_in(epoch + 1, attempt_in(epoch, attempt) + 1)
    assert number_in_backup(epoch + 1, once_more, attempt_in(epoch, attempt)) == (
        attempt_in(epoch, attempt) + 1
    )
