"""Starts the console: the link around the app, contexts one after the other, and a clean end."""

import asyncio
import gc
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.metadata import version
from typing import Final

import msgspec

from control.model.clock import system_clock
from tui.app import Console, ContextSwitch
from tui.link.contexts import Colours
from tui.link.recording import Recorder
from tui.link.source import ConsoleTarget, Source

_END_S: Final = 5.0
_PREPARE_S: Final = 0.5


class ConsoleStart(msgspec.Struct, frozen=True, kw_only=True):
    """How the console begins. `opened` makes a source; `targets` by the names of contexts.

    `now_ms`: the time of what is shown, which is the recording's where one is replayed.
    """

    targets: Mapping[str, ConsoleTarget]
    first: str
    opened: Callable[[ConsoleTarget], Source]
    now_ms: Callable[[], int]
    theme: str | None = None
    themes: Mapping[str, Colours] = {}
    keys: Mapping[str, str] = {}
    replayed: bool = False


now_ms: Final = system_clock().steady_ms  # What it shows is the server's time.


def start(how: ConsoleStart) -> int:
    """Run until the user leaves; the exit code."""
    return asyncio.run(_run(how))


async def _run(how: ConsoleStart) -> int:
    target = how.targets[how.first]
    gone = asyncio.Event()
    loop = asyncio.get_running_loop()
    threading.Thread(target=_watch_terminal, args=(loop, gone), daemon=True).start()
    while True:
        result = await _run_one(how, target, gone)
        if not isinstance(result, ContextSwitch):
            return result or 0
        target = how.targets[result.context]


async def _run_one(
    how: ConsoleStart, target: ConsoleTarget, gone: asyncio.Event
) -> int | ContextSwitch | None:
    source = how.opened(target)
    app = Console(
        source,
        now_ms=how.now_ms,
        version=version("taskplane"),
        contexts=list(how.targets),
        theme=how.theme,
        themes=how.themes,
        keys=how.keys,
        replayed=how.replayed,
    )
    # Without these a terminal would be left in its alternate screen, with the mouse on.
    loop = asyncio.get_running_loop()
    for sign in (signal.SIGTERM, signal.SIGHUP) if sys.platform != "win32" else ():
        loop.add_signal_handler(sign, app.exit, 0)
    try:
        # The link is around the app: Textual does not wait for its own workers when it ends.
        async with asyncio.TaskGroup() as group:
            beside = [
                group.create_task(app.session.run()),
                group.create_task(_leave(gone, app)),
                group.create_task(_prepare(app)),
            ]
            if isinstance(source, Recorder):
                beside.append(group.create_task(_tell_end(source, app)))
            result = await app.run_async()
            for task in beside:
                task.cancel()
        return result
    finally:
        gc.unfreeze()  # Another context begins with another console.
        await source.aclose()


def _watch_terminal(loop: asyncio.AbstractEventLoop, gone: asyncio.Event) -> None:
    """Tell when the terminal is gone, and have this process end soon after that.

    Not everywhere does a signal say so. Textual would read its end again and again, and wait for
    ever until what it writes is taken, so that no signal would end it any more.
    """
    if not hasattr(select, "poll"):
        return
    watched = select.poll()
    watched.register(sys.stdin.fileno(), 0)
    if any(happened & select.POLLHUP for _, happened in watched.poll()):
        with suppress(RuntimeError):  # It has ended by itself.
            loop.call_soon_threadsafe(gone.set)
        time.sleep(_END_S)
        os._exit(0)


async def _prepare(app: Console) -> None:
    """Do early and bit by bit what a key would have to wait for.

    Views are made; and the garbage collector is told what stays, which it would look at each time.
    """
    while app.navigation.unmade:
        await asyncio.sleep(_PREPARE_S)
        app.call_later(app.navigation.make_view)
    gc.collect()
    gc.freeze()


async def _leave(gone: asyncio.Event, app: Console) -> None:
    await gone.wait()
    app.exit(0)


async def _tell_end(recorder: Recorder, app: Console) -> None:
    await recorder.ended.wait()
    app.flash(recorder.problem, "bad")
