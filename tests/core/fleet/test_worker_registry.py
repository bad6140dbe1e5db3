"""Decides that workers are where they are, in whatever order dispatchers' news comes."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from control.core.fleet import worker_registry
from control.core.fleet.worker_registry import WorkerRegistry
from control.model.bus.messages import DispatcherUp, Hold, WorkerDown, WorkerQuiet, WorkerUp
from control.model.numbers import JobId
from control.model.states import Speed

News = WorkerUp | WorkerDown | WorkerQuiet | DispatcherUp
Streams = dict[str, list[News]]

DISPATCHERS = ("a", "b", "c")
WORKERS = ("v", "w")
HOLD = Hold(
    job_id=JobId(5),
    attempt=1,
    pipeline="p",
    name="n",
    client="c",
    speed=Speed.FAST,
    expected=1.0,
    started_ms=None,
)


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


def down(name: str, dispatcher: str) -> WorkerDown:
    return WorkerDown(worker=name, dispatcher=dispatcher, reason="gone")


def quiet(name: str, dispatcher: str, since_ms: int | None) -> WorkerQuiet:
    return WorkerQuiet(worker=name, dispatcher=dispatcher, since_ms=since_ms)


def announced(dispatcher: str, partitions: tuple[int, ...], *workers: WorkerUp) -> DispatcherUp:
    return DispatcherUp(dispatcher=dispatcher, partitions=partitions, workers=workers, adrift=())


def after(*news: News) -> WorkerRegistry:
    registry = WorkerRegistry()
    for message in news:
        registry.apply(message)
    return registry


def where(registry: WorkerRegistry) -> dict[str, str]:
    return {name: info.dispatcher for name, info in registry.workers.items()}


def state(registry: WorkerRegistry) -> object:
    """All that can be asked of it."""
    return (
        registry.workers,
        {name: registry.quiet_since_ms(name) for name in WORKERS},
        {dispatcher: registry.partitions_of(dispatcher) for dispatcher in DISPATCHERS},
    )


@st.composite
def stream(draw: st.DrawFn, dispatcher: str) -> list[News]:
    """What one dispatcher publishes, in its order; nothing that it says need make sense."""
    partitions = st.lists(st.integers(0, 3), max_size=3, unique=True).map(tuple)
    names, times = st.sampled_from(WORKERS), st.integers(0, 4)
    ups = st.builds(up, names, st.just(dispatcher), times, partitions)
    news: st.SearchStrategy[News] = st.one_of(
        ups,
        st.builds(down, names, st.just(dispatcher)),
        st.builds(quiet, names, st.just(dispatcher), st.none() | times),
        st.builds(
            lambda own, workers: announced(dispatcher, own, *workers),
            partitions,
            st.lists(ups, max_size=2, unique_by=lambda info: info.worker),
        ),
    )
    return draw(st.lists(news, max_size=6))


streams = st.fixed_dictionaries({name: stream(name) for name in DISPATCHERS})


def last_announcement(news: list[News]) -> int | None:
    found = [at for at, message in enumerate(news) if isinstance(message, DispatcherUp)]
    return found[-1] if found else None


def interleaved(data: st.DataObject, told: Streams, order: list[str] | None = None) -> list[News]:
    """All news, each dispatcher's in its order; their last announcements in this one, if any."""
    left = {name: list(news) for name, news in told.items()}
    turns = list(order or ())
    last = {name: last_announcement(news) for name, news in told.items()} if turns else {}
    mixed: list[News] = []
    while any(left.values()):
        free = [
            name
            for name, news in left.items()
            if news and (len(told[name]) - len(news) != last.get(name) or turns[0] == name)
        ]
        name = data.draw(st.sampled_from(free))
        if turns and len(told[name]) - len(left[name]) == last[name]:
            turns.pop(0)
        mixed.append(left[name].pop(0))
    return mixed


@given(told=streams, data=st.data())
def test_only_the_order_of_last_announcements_counts(told: Streams, data: st.DataObject) -> None:
    """Of a partition that two announce, the owner is who did so last: one of them is dead."""
    announce = [name for name, news in told.items() if last_announcement(news) is not None]
    order = data.draw(st.permutations(announce))
    one, other = interleaved(data, told, order), interleaved(data, told, order)
    assert state(after(*one)) == state(after(*other))


@given(
    told=streams,
    owners=st.lists(st.sampled_from(DISPATCHERS), min_size=4, max_size=4),
    data=st.data(),
)
def test_where_all_live_no_order_counts(
    told: Streams, owners: list[str], data: st.DataObject
) -> None:
    """Each announces what it has in the end, and no two have one partition."""
    for name, news in told.items():
        at = last_announcement(news)
        if at is not None:
            own = tuple(place for place, owner in enumerate(owners) if owner == name)
            news[at] = announced(name, own, *worker_registry.reported(news[at]))
    one, other = interleaved(data, told), interleaved(data, told)
    assert state(after(*one)) == state(after(*other))


@given(
    moves=st.lists(st.tuples(st.sampled_from(WORKERS), st.sampled_from([*DISPATCHERS, ""]))),
    data=st.data(),
)
def test_in_whatever_order_news_comes_workers_are_where_they_went_last(
    moves: list[tuple[str, str]], data: st.DataObject
) -> None:
    """Each dispatcher tells in order what it sees; between dispatchers there is no order."""
    told: Streams = {name: [] for name in DISPATCHERS}
    true: dict[str, str] = {}
    for at, (name, to) in enumerate(moves):
        before = true.pop(name, None)
        if before is not None and before != to:
            told[before].append(down(name, before))
        if to:
            true[name] = to
            told[to].append(up(name, to, at))
    assert where(after(*interleaved(data, told))) == true


@given(told=streams, data=st.data())
def test_who_applies_the_changes_knows_all_workers(told: Streams, data: st.DataObject) -> None:
    registry, mirror = WorkerRegistry(), dict[str, WorkerUp]()
    for message in interleaved(data, told):
        changes = registry.apply(message)
        for info in changes.gone:
            assert mirror.pop(info.worker).dispatcher == info.dispatcher
        for info in changes.came:
            mirror[info.worker] = info
        assert mirror == registry.workers


def test_a_newer_connection_that_is_taken_back_leaves_the_older_one() -> None:
    """The clocks of two hosts differ: what seems to be older may be what is true."""
    older, newer = up("w", "a", 100), up("w", "b", 200)
    for news in ((older, newer), (newer, older)):
        registry = after(*news)
        assert where(registry) == {"w": "b"}
        came, gone = registry.apply(down("w", "b"))
        assert ([info.dispatcher for info in came], gone) == (["a"], [])
        assert where(registry) == {"w": "a"}


def test_of_connections_of_one_time_all_readers_choose_the_same() -> None:
    for news in ((up("w", "a", 7), up("w", "b", 7)), (up("w", "b", 7), up("w", "a", 7))):
        assert where(after(*news)) == {"w": "b"}


def test_only_who_has_a_worker_may_say_that_it_is_gone() -> None:
    registry = after(up("w", "a", 1), up("w", "b", 2))
    assert registry.apply(down("w", "a")) == ([], [])
    assert where(registry) == {"w": "b"}
    assert [info.worker for info in registry.apply(down("w", "b")).gone] == ["w"]
    assert registry.apply(down("w", "b")) == ([], [])


def test_a_dispatcher_replaces_what_it_had_said_and_nothing_else() -> None:
    registry = after(up("mine", "a", 1), up("moved", "b", 9), up("theirs", "b", 1))
    came, gone = registry.apply(announced("a", (), up("moved", "a", 4), up("new", "a", 5)))
    assert [info.worker for info in came] == ["new"]
    assert [info.worker for info in gone] == ["mine"]
    assert where(registry) == {"new": "a", "moved": "b", "theirs": "b"}


def test_who_lost_its_last_partition_to_others_is_gone_with_its_workers() -> None:
    registry = after(announced("a", (0, 1), up("w", "a", 1, (0, 1))))
    came, gone = registry.apply(announced("b", (1, 2)))
    assert [info.partitions for info in came] == [(0,)]
    assert not gone
    came, gone = registry.apply(announced("b", (0, 1, 2)))
    assert ([info.worker for info in gone], came) == (["w"], [])
    # It lives all the same: it has said so before the others did, or says so now.
    came, _ = registry.apply(announced("a", (), up("w", "a", 1, (0, 1))))
    assert [(info.worker, info.partitions) for info in came] == [("w", ())]
    assert registry.apply(announced("b", (0, 1, 2))) == ([], [])
    assert where(registry) == {"w": "a"}


def test_a_partition_that_is_given_back_is_its_former_owners() -> None:
    """A dispatcher that was frozen repeats its old announcement, and then finds that it is old."""
    registry = after(announced("a", (0,)), announced("b", (0,)), announced("a", (0,)))
    assert (registry.partitions_of("a"), registry.partitions_of("b")) == ((0,), ())
    registry.apply(announced("a", ()))
    assert (registry.partitions_of("a"), registry.partitions_of("b")) == ((), (0,))


def test_who_serves_partitions_has_a_worker_before_who_serves_none() -> None:
    """Nothing can be placed with a dispatcher that has no partition."""
    registry = after(announced("a", (0,), up("w", "a", 1)), announced("b", (), up("w", "b", 2)))
    assert where(registry) == {"w": "a"}
    registry.apply(announced("b", (1,), up("w", "b", 2)))
    assert where(registry) == {"w": "b"}


def test_what_is_said_again_of_a_worker_says_nothing_of_its_jobs() -> None:
    """They may have ended long ago."""
    info = msgspec.structs.replace(up("w", "a", 1, (0, 1)), holds=(HOLD,))
    registry = WorkerRegistry()
    assert registry.apply(announced("a", (0, 1), info)).came == [info]
    registry.drain("w")
    registry.drain("nobody")
    came, _ = registry.apply(announced("b", (1,)))
    assert came == [msgspec.structs.replace(info, partitions=(0,), draining=True, holds=())]


def test_a_worker_that_a_dispatcher_lists_as_anothers_is_nowhere() -> None:
    """A foreign record: nothing that it names is looked up."""
    registry = after(announced("a", (0,), up("w", "nobody", 1)))
    assert not registry.workers
    assert registry.partitions_of("nobody") == ()


def test_silence_is_a_connections() -> None:
    registry = after(up("w", "a", 1), quiet("w", "b", 5), quiet("v", "a", 5))
    assert registry.quiet_since_ms("w") is None
    registry.apply(quiet("w", "a", 7))
    registry.apply(announced("a", (), up("w", "a", 1)))
    assert registry.quiet_since_ms("w") == 7
    registry.apply(up("w", "b", 2))
    assert registry.quiet_since_ms("w") is None  # It is elsewhere.
    registry.apply(down("w", "b"))
    assert registry.quiet_since_ms("w") == 7
    registry.apply(up("w", "a", 3))
    assert registry.quiet_since_ms("w") is None  # It has connected again.
    registry.apply(quiet("w", "a", 9))
    registry.apply(quiet("w", "a", None))
    assert registry.quiet_since_ms("w") is None


def test_who_connected_here_is_nowhere_else_until_it_is_announced_again() -> None:
    registry = after(up("w", "a", 1), up("w", "b", 2))
    registry.forget("w")
    registry.forget("nobody")
    assert not registry.workers
    registry.apply(up("w", "a", 1))
    assert where(registry) == {"w": "a"}


def test_dispatchers_that_came_and_went_for_years_take_no_room() -> None:
    registry = WorkerRegistry(dispatchers_max=3)
    registry.apply(announced("lives", (1,), up("v", "lives", 1)))
    for number in range(10):
        name = f"d{number}"
        registry.apply(announced(name, (0,), up(f"w{number}", name, 1)))
    assert where(registry) == {"v": "lives", "w9": "d9"}
    assert registry.dispatchers == 3


def test_partitions_that_nobody_has_are_no_ones() -> None:
    registry = after(announced("a", (2, 0)))
    registry.own("b", {2})
    assert (registry.partitions_of("a"), registry.partitions_of("b")) == ((0,), (2,))
    assert registry.partitions_of("c") == ()


def test_only_reports_of_a_dispatchers_own_workers_are_reports() -> None:
    mine, foreign = up("w", "a", 1), up("v", "b", 1)
    assert worker_registry.reported(mine) == (mine,)
    assert worker_registry.reported(announced("a", (), mine, foreign)) == (mine,)
    assert worker_registry.reported(down("w", "a")) == ()
