"""Measures consoles that look on while a system works: what they take, and how they react."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random
from typing import Final

import trio

from bench.load.terminals import Terminal
from bench.servers.system import System, percentile, script

# In the order in which consoles take them, so that three begin with those that show most.
VIEWS: Final = {
    "overview": "1",
    "runs": "4",
    "workers": "5",
    "partitions": "2",
    "slow": "3",
    "schedules": "6",
}
_OTHER: Final = dict(zip(VIEWS, (*VIEWS, *VIEWS)[len(VIEWS) - 1 :], strict=False))
_TO_A_LONG_TABLE: Final = {"overview": "\t"}  # Where the focus begins elsewhere.
_CURSOR: Final = "▸"
_BEGIN_S: Final = 5.0  # A console's first pictures cost more than those that follow.
_BETWEEN_KEYS_S: Final = (0.2, 0.5)
_SCREEN_BYTES: Final = 3_000  # A whole screen has as many; what changes of one has fewer.
_AGAIN: Final = 4
_SEED: Final = 1


@contextmanager
def consoles(
    running: System, count: int, profiles: Path | None = None, *, aside: bool = False
) -> Iterator[list[Terminal]]:
    """So many consoles with a first picture each.

    `profiles`: where cProfile writes its files; `aside`: they get only what others leave.
    """
    with ExitStack() as stack:
        found: list[Terminal] = []
        for number in range(count):
            command = [script("tpctl"), "tui"]
            if profiles is not None:
                name = profiles / f"console-{number}-{time.time_ns()}.prof"
                command = [sys.executable, "-m", "cProfile", "-o", str(name), *command]
            if aside:
                command = ["nice", "-n", "19", *command]
            found.append(stack.enter_context(Terminal(command, running.environ())))
        for console in found:
            console.wait_for("verview")
        yield found


class Looked:
    """What was measured of consoles while they looked on."""

    def __init__(self) -> None:
        self.cpu_percent: dict[str, float] = {}  # Of a core, by view.
        self.bytes_per_s: dict[str, float] = {}
        # From a key to what it is for, drawn: the cursor moved, a view opened (the first time, when
        # it is made, and again).
        self.keys_ms: dict[str, list[float]] = {"move": [], "open": [], "again": []}
        self.unanswered: list[str] = []  # Views with keys without such output within five seconds.
        self.memory_mib: list[float] = []

    async def key(
        self, name: str, view: str, console: Terminal, key: str, *, shows: str = "", size: int = 1
    ) -> None:
        """Press it, and wait for what it is for."""
        took = await trio.to_thread.run_sync(lambda: console.reaction_ms(key, shows, size))
        if took is None:
            self.unanswered.append(f"{view} {name}")
        else:
            self.keys_ms[name].append(took)

    def figures(self) -> dict[str, object]:
        """As they are reported."""
        found: dict[str, object] = {}
        for view, percent in self.cpu_percent.items():
            found[f"cpu_percent_{view}"] = percent
        for view, rate in self.bytes_per_s.items():
            found[f"output_bytes_per_s_{view}"] = rate
        for name, values in self.keys_ms.items():
            found[f"{name}_keys"] = len(values)
            found[f"{name}_ms_p50"] = percentile(values, 0.5)
            found[f"{name}_ms_p95"] = percentile(values, 0.95)
            found[f"{name}_ms_max"] = max(values, default=float("nan"))
        found["unanswered_keys"] = len(self.unanswered)
        found["unanswered_in"] = sorted(set(self.unanswered))
        found["console_memory_mib_max"] = max(self.memory_mib, default=float("nan"))
        return found


async def look_on(among: Sequence[Terminal], seconds: float, keys: int) -> Looked:
    """Have them show all views in turn, watch each view, then press keys on it."""
    looked, random = Looked(), Random(_SEED)
    await trio.sleep(_BEGIN_S)  # While they begin, three at once, nobody could type.
    views = list(VIEWS)
    for at in range(0, len(views), len(among)):
        shown = dict(zip(views[at : at + len(among)], among, strict=False))
        for view, console in shown.items():
            await looked.key("open", view, console, VIEWS[view], size=_SCREEN_BYTES)
        await trio.sleep(_BEGIN_S)
        for view, console in shown.items():
            for key in _TO_A_LONG_TABLE.get(view, ""):
                console.press(key)
                await trio.sleep(_BETWEEN_KEYS_S[1])
        before = {view: (each.cpu_s, each.bytes_out) for view, each in shown.items()}
        begin = time.perf_counter()
        await trio.sleep(seconds)
        took_s = time.perf_counter() - begin
        for view, console in shown.items():
            cpu_s, bytes_out = before[view]
            looked.cpu_percent[view] = 100 * (console.cpu_s - cpu_s) / took_s
            looked.bytes_per_s[view] = (console.bytes_out - bytes_out) / took_s
        async with trio.open_nursery() as nursery:
            for view, console in shown.items():
                nursery.start_soon(_press_keys, looked, view, console, keys, random)
    looked.memory_mib = [console.memory_mib for console in among]
    return looked


async def _press_keys(
    looked: Looked, view: str, console: Terminal, keys: int, random: Random
) -> None:
    for number in range(keys):
        await trio.sleep(random.uniform(*_BETWEEN_KEYS_S))
        # Down and up: at the end of a list a key moves nothing, and is answered by nothing.
        key = "jk"[number % 2]
        await looked.key("move", view, console, key, shows=_CURSOR)
    for key in (VIEWS[_OTHER[view]], VIEWS[view]) * _AGAIN:
        await trio.sleep(random.uniform(*_BETWEEN_KEYS_S))
        await looked.key("again", view, console, key, size=_SCREEN_BYTES)
