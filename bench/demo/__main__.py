"""Shows what Taskplane promises, as `make demo`: work of all kinds, kill -9, and a count."""

import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated

import trio
import typer

from bench.demo.calls import DemoCalls
from bench.demo.count import DemoCount
from bench.demo.printing import DemoPrinter
from bench.demo.processes import SLOTS, DemoFailed, DemoSystem, tool
from bench.demo.story import DemoStory
from control.model.errors import TaskplaneError

_LIMIT_S = 180.0  # Only ends what would wait for ever.
_INTERRUPTED = 130


def main(
    keep: Annotated[bool, typer.Option(help="Leave the system running.")] = False,
    scale: Annotated[float, typer.Option(min=0.0, help="How much of it; 1: all.")] = 1.0,
) -> None:
    """Fast, slow, urgent, and failing jobs through two kill -9; 0: none was lost, none doubled."""
    printer = DemoPrinter(terminal=sys.stdout.isatty())
    system = DemoSystem(Path(tempfile.mkdtemp(prefix="taskplane-demo-")))
    count, code = None, 1
    try:
        count = trio.run(_run, system, printer, keep, scale)
        code = _INTERRUPTED if count is None else 0 if count.promise_holds else 1
    except* (DemoFailed, TaskplaneError, trio.TooSlowError) as group:
        for error in _leaves(group):
            why = str(error) or f"it has not ended within {_LIMIT_S:.0f} s"
            print(f"the demo cannot go on: {why}", file=sys.stderr)
    _conclude(count, printer, system, code, keep=keep)
    raise typer.Exit(code)


async def _run(
    system: DemoSystem, printer: DemoPrinter, keep: bool, scale: float
) -> DemoCount | None:
    """What was counted; None: it was interrupted."""
    count: DemoCount | None = None
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_cancel_at_signal, signals, nursery.cancel_scope)
                with trio.fail_after(_LIMIT_S):
                    count = await _show(system, printer, scale)
                nursery.cancel_scope.cancel()
        finally:
            printer.end_live()
            if count is None or not keep:
                await system.stop()
    return count


async def _show(system: DemoSystem, printer: DemoPrinter, scale: float) -> DemoCount:
    print("Taskplane: one control plane, two workers, and work that survives kill -9 of either.")
    printer.heading("1  Start")
    await system.start_control()
    async with trio.open_nursery() as nursery:
        for name in ("w1", "w2"):
            nursery.start_soon(system.start_worker, name)
    printer.line(
        f"A control plane, and the workers w1 and w2 with {SLOTS} slots each, are ready after "
        f"{printer.seconds:.1f} s."
    )
    async with system.http() as http:
        return await DemoStory(system, DemoCalls(system, http), printer, scale).run()


async def _cancel_at_signal(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    async for _ in signals:
        scope.cancel()
        return


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def _conclude(
    count: DemoCount | None, printer: DemoPrinter, system: DemoSystem, code: int, *, keep: bool
) -> None:
    if count is not None:
        printer.heading(
            f"{count.done} of {count.submitted} done, {count.lost} lost, {count.twice} twice "
            f"({printer.seconds:.0f} s)"
        )
        if keep:
            tpctl = f"{tool('tpctl')} --data-dir {system.data_dir}"
            printer.command(f"Look around:  {tpctl} tui")
            printer.command(f"More work:    {tpctl} run start video")
            printer.command(f"Stop it:      kill {' '.join(map(str, system.pids))}")
            printer.command(f"Remove it:    rm -r {system.directory}")
            return
    if code == 1:
        print(f"what there is to look at is in {system.directory}", file=sys.stderr)
        return
    system.remove()
    if count is None:
        print("\nstopped; nothing is left running")
    else:
        printer.line("Look around yourself: `make demo KEEP=1` leaves it up, for `tpctl tui`.")


if __name__ == "__main__":
    typer.run(main)
