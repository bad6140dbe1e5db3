"""Decides that workers are where they are, whatever dispatchers say that are dead or late."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from control.core.fleet.worker_registry import Roster
from control.model.bus.messages import DispatcherUp, WorkerDown, WorkerUp


def up(name: str, dispatcher: str, connected_ms: int, partitions: tuple[int, ...] = ()) -> WorkerUp:
    return WorkerUp(
        worker=name,
        dispatcher=dispatcher,
        host="h",
        slots=2,
        labels=(),
        kinds=(),
        partitions=partitions,
        draining=False,
        connected_ms=connected_ms,
    )


def announced(dispatcher: str, partitions: tuple[int, ...], *workers: WorkerUp) -> DispatcherUp:
    return DispatcherUp(dispatcher=dispatcher, partitions=partitions, workers=workers, adrift=())


def where(roster: Roster) -> dict[str, str]:
    return {name: info.dispatcher for name, info in roster.workers.items()}


def hear(roster: Roster, message: WorkerUp | WorkerDown) -> None:
    if isinstance(message, WorkerUp):
        roster.worker_up(message)
    else:
        roster.worker_down(message.worker, message.dispatcher)


@given(
    moves=st.lists(st.tuples(st.sampled_from("vw"), st.sampled_from(["a", "b", "c", ""]))),
    data=st.data(),
)
def test_in_whatever_order_news_comes_workers_are_where_they_went_last(
    moves: list[tuple[str, str]], data: st.DataObject
) -> None:
    """Each dispatcher tells in order what it sees; between dispatchers there is no order."""
    told: dict[str, list[WorkerUp | WorkerDown]] = {"a": [], "b": [], "c": []}
    true: dict[str, str] = {}
    for at, (name, to) in enumerate(moves):
        before = true.pop(name, None)
        if before is not None and before != to:
            told[before].append(WorkerDown(worker=name, dispatcher=before, reason="gone"))
        if to:
            true[name] = to
            told[to].append(up(name, to, at))
    roster = Roster()
    while any(told.values()):
        speaker = data.draw(st.sampled_from([name for name, queue in told.items() if queue]))
        hear(roster, told[speaker].pop(0))
    assert where(roster) == true


def test_only_who_has_a_worker_may_say_that_it_is_gone() -> None:
    roster = Roster()
    roster.worker_up(up("w", "a", 1))
    roster.worker_up(up("w", "b", 2))
    assert roster.worker_down("w", "a") == ([], [])
    assert where(roster) == {"w": "b"}
    assert [info.worker for info in roster.worker_down("w", "b").gone] == ["w"]
    assert roster.worker_down("w", "b") == ([], [])


def test_an_older_connection_elsewhere_counts_when_the_newer_one_is_gone() -> None:
    """The clocks of two hosts differ: what seems to be older may be what is true."""
    roster = Roster()
    roster.worker_up(up("w", "a", 5))
    assert roster.worker_up(up("w", "b", 3)) == ([], [])
    assert where(roster) == {"w": "a"}
    came, gone = roster.worker_down("w", "a")
    assert ([info.dispatcher for info in came], gone) == (["b"], [])
    assert where(roster) == {"w": "b"}


def test_a_dispatcher_replaces_what_it_had_said_and_nothing_else() -> None:
    roster = Roster()
    roster.worker_up(up("mine", "a", 1))
    roster.worker_up(up("moved", "b", 9))
    roster.worker_up(up("theirs", "b", 1))
    came, gone = roster.dispatcher_up(announced("a", (), up("moved", "a", 4), up("new", "a", 5)))
    assert [info.worker for info in came] == ["new"]
    assert [info.worker for info in gone] == ["mine"]
    assert where(roster) == {"new": "a", "moved": "b", "theirs": "b"}


def test_who_lost_its_last_partition_to_others_is_gone_with_its_workers() -> None:
    roster = Roster()
    roster.dispatcher_up(announced("a", (0, 1), up("w", "a", 1, (0, 1))))
    came, gone = roster.dispatcher_up(announced("b", (1, 2)))
    assert [info.partitions for info in came] == [(0,)]
    assert not gone
    came, gone = roster.dispatcher_up(announced("b", (0, 1, 2)))
    assert ([info.worker for info in gone], came) == (["w"], [])
    # It lives all the same: it has said so before the others did, or says so now.
    came, _ = roster.dispatcher_up(announced("a", (), up("w", "a", 1, (0, 1))))
    assert [(info.worker, info.partitions) for info in came] == [("w", ())]
    assert roster.dispatcher_up(announced("b", (0, 1, 2))) == ([], [])
    assert where(roster) == {"w": "a"}


def test_what_is_said_again_of_a_worker_says_nothing_of_its_jobs() -> None:
    """They may have ended long ago."""
    roster = Roster()
    info = up("w", "a", 1, (0, 1))
    roster.dispatcher_up(announced("a", (0, 1), info))
    roster.drain("w")
    roster.drain("nobody")
    came, _ = roster.dispatcher_up(announced("b", (1,)))
    assert came == [msgspec.structs.replace(info, partitions=(0,), draining=True)]
