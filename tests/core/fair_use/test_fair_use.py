"""Decides who gets how much: against naive models, over anything that may happen."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.core.fair_use.connections import Connections
from control.core.fair_use.frame_meter import FrameMeter, FrameVerdict
from control.core.fair_use.hosts import Hosts
from control.core.fair_use.rates import Rates, network_of
from control.core.fair_use.shares import Ask, Shares

KEYS = st.sampled_from("abc")


@given(st.lists(st.tuples(KEYS, st.integers(1, 6), st.integers(0, 20))))
def test_no_bound_is_ever_broken_and_nothing_is_forgotten(
    events: list[tuple[str, int, int]],
) -> None:
    shares = Shares(total=8, each=5, waiting=6, waiting_each=3)
    live: list[Ask] = []
    for key, amount, action in events:
        if action < 10 or not live:
            ask = shares.ask(key, amount)
            if ask is not None:
                live.append(ask)
            else:
                waits = [each for each in live if not each.granted]
                assert len(waits) == 6 or Counter(each.key for each in waits)[key] == 3
        else:
            gone = live.pop(action % len(live))
            for ask in shares.give_back(gone):
                assert ask in live
        held = [each for each in live if each.granted]
        assert shares.held == sum(each.amount for each in held) <= 8
        for each in "abc":
            assert shares.held_by(each) == sum(a.amount for a in held if a.key == each) <= 5
        assert shares.waiting == len(live) - len(held)
    while live:
        granted = [each for each in live if each.granted]
        assert granted, "asks wait for nothing"
        live.remove(granted[0])
        shares.give_back(granted[0])
    assert shares.held == shares.waiting == 0


def test_a_client_with_one_ask_is_next_however_many_another_one_has() -> None:
    shares = Shares(total=2, each=2, waiting=1_000, waiting_each=500)
    flood = [shares.ask("flood") for _ in range(300)]
    victim = shares.ask("victim")
    assert victim is not None
    assert not victim.granted
    assert flood[0] is not None
    assert flood[1] is not None
    granted = [*shares.give_back(flood[0]), *shares.give_back(flood[1])]
    assert victim in granted


def test_a_client_at_its_share_holds_up_nobody_and_a_large_ask_is_not_passed() -> None:
    shares = Shares(total=10, each=6, waiting=10, waiting_each=5)
    first = shares.ask("a", 6)
    second = shares.ask("a", 6)
    other = shares.ask("b", 4)
    assert first is not None
    assert second is not None
    assert other is not None
    assert (first.granted, second.granted, other.granted) == (True, False, True)
    large, small = shares.ask("c", 5), shares.ask("d", 1)
    assert large is not None
    assert small is not None
    assert not large.granted
    assert not small.granted
    assert shares.give_back(first) == [second] or large in shares.give_back(other)


@given(st.lists(st.floats(0, 3), max_size=60))
def test_a_bucket_lets_through_its_burst_and_its_rate(pauses: list[float]) -> None:
    rates = Rates(per_s=2, burst=5, keys_max=10)
    now, taken = 0.0, []
    for pause in pauses:
        now += pause
        if rates.wait_s("k", now) == 0:
            rates.take("k", now)
            taken.append(now)
        for begin in taken:
            in_window = [at for at in taken if begin <= at]
            assert len(in_window) <= 5 + 2 * (now - begin) + 1e-6


def test_buckets_are_bounded_and_the_emptiest_stay() -> None:
    rates = Rates(per_s=1, burst=3, keys_max=100)
    for _ in range(3):
        rates.take("wrong", 0.0)
    for number in range(10_000):
        rates.take(f"k{number}", 0.0)
    assert len(rates) <= 100
    assert rates.wait_s("wrong", 0.0) == pytest.approx(1)
    assert rates.wait_s("wrong", 1.0) == 0


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("testclient", "testclient"),
    ],
)
def test_addresses_of_one_network_are_one_key(host: str, key: str) -> None:
    assert network_of(host) == key


@given(st.lists(st.tuples(KEYS, st.integers(0, 9))))
def test_doors_stay_within_their_bounds_and_established_ones_stay(
    events: list[tuple[str, int]],
) -> None:
    door = Connections(total=6, each=4)
    live: dict[int, str] = {}
    established: set[int] = set()
    for number, (address, action) in enumerate(events):
        if action < 6:
            admitted, evicted = door.admit(number, address)
            if evicted is not None:
                assert evicted not in established
                del live[evicted]
            if admitted:
                live[number] = address
            else:
                of_it = [each for each in live if live[each] == address]
                assert set(of_it if len(of_it) == 4 else live) <= established
        elif live and action < 8:
            chosen = sorted(live)[number % len(live)]
            established.add(chosen)
            door.established(chosen)
        elif live:
            chosen = sorted(live)[number % len(live)]
            del live[chosen]
            door.remove(chosen)
        assert len(door) == len(live) <= 6
        assert max(Counter(live.values()).values(), default=0) <= 4


def frame(length: int, *, first: int = 0x82, masked: bool = True) -> bytes:
    mask = 0x80 if masked else 0
    if length < 126:
        head = bytes([first, mask | length])
    elif length < 65_536:
        head = bytes([first, mask | 126]) + length.to_bytes(2, "big")
    else:
        head = bytes([first, mask | 127]) + length.to_bytes(8, "big")
    return head + (bytes(4) if masked else b"")


@given(
    st.lists(st.tuples(st.integers(0, 300), st.booleans(), st.booleans()), max_size=12),
    st.lists(st.integers(1, 50), max_size=30),
)
def test_the_meter_knows_messages_however_their_bytes_arrive(
    frames: list[tuple[int, bool, bool]], cuts: list[int]
) -> None:
    data, message, too_large = b"", 0, False
    for length, final, masked in frames:
        data += frame(length, first=0x82 if final else 0x02, masked=masked) + bytes(length)
        message += length
        too_large = too_large or message > 200
        message = 0 if final else message
    meter, verdict = FrameMeter(200), FrameVerdict.FINE
    for cut in [*cuts, len(data)]:
        verdict = meter.feed(data[:cut])
        data = data[cut:]
    assert (verdict is FrameVerdict.TOO_LARGE) == too_large
    if not too_large:
        assert meter.announced == message


def test_the_header_of_a_frame_is_enough_to_refuse_it() -> None:
    assert FrameMeter(65_536).feed(frame(65_536)) is FrameVerdict.FINE
    assert FrameMeter(65_536).feed(frame(16 * 2**30)) is FrameVerdict.TOO_LARGE
    assert FrameMeter(65_536).feed(frame(2**63)) is FrameVerdict.TOO_LARGE
    assert FrameMeter(65_536, 4_096).feed(frame(5_000, first=0xC2)) is FrameVerdict.TOO_LARGE
    assert FrameMeter(65_536).feed(frame(1, first=0xC2)) is FrameVerdict.TOO_LARGE
    ping = FrameMeter(65_536)
    assert ping.feed(frame(60_000, first=0x02) + bytes(60_000)) is FrameVerdict.FINE
    assert ping.feed(frame(5, first=0x89) + bytes(5)) is FrameVerdict.FINE
    assert ping.feed(frame(60_000, first=0x80)) is FrameVerdict.TOO_LARGE


@pytest.mark.parametrize(
    ("host", "origin", "refused"),
    [
        (None, None, ""),
        ("127.0.0.1:8700", None, ""),
        ("[::1]:8700", None, ""),
        ("localhost", None, ""),
        ("LOCALHOST:1", None, ""),
        ("control", None, ""),
        ("tasks.example.org", None, ""),
        ("tasks.example.org.", None, ""),
        ("Tasks.Example.org:443", "https://tasks.example.org", ""),
        ("127.0.0.1:8700", "http://127.0.0.1:8700", ""),
        ("127.0.0.1:8700", "https://tasks.example.org:8443", ""),
        ("evil.example", None, "evil.example"),
        ("127.0.0.1.evil.example", None, "evil.example"),
        ("a b", None, "not called"),
        ("user@127.0.0.1", None, "not called"),
        ("", None, "not called"),
        ("127.0.0.1:8700", "http://127.0.0.1:9999", "may send nothing"),
        ("127.0.0.1:8700", "null", "null"),
        ("127.0.0.1:8700", "http://evil.example", "evil.example"),
        ("\x1b[2J", None, "\\x1b"),
    ],
)
def test_which_names_and_pages_are_right(
    host: str | None, origin: str | None, refused: str
) -> None:
    found = Hosts(["tasks.example.org"]).refusal(host, origin)
    assert (found is None) == (not refused), found
    assert refused in (found or "")
