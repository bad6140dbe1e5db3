"""Decides nothing of ours: this file runs in the user's interpreter (3.8 or newer, stdlib only).

It calls one function after another, as a pipe orders it, and writes how each ended into
another pipe; stdout and stderr belong to the user's code. When the worker is gone, so is it. What a
job may say of itself is in the module `taskplane_job`, which is made here.

    python -u python_child.py REQUESTS_FD REPLIES_FD [PATH...]
"""

from __future__ import annotations

import _thread
import importlib
import json
import os
import queue
import signal
import sys
import threading
import traceback
import types

# Types are in comments only where 3.8 could not read them.
_times: dict[str, float] = {}
_OWN_THREADS = 1  # Of those that Python has started: the one that reads requests.
_TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)


class _Refusal(Exception):
    """The call cannot be made; the message says all."""


def _call(request: dict) -> str:  # type: ignore[type-arg]
    module_name, _, path = request["call"].partition(":")
    function = importlib.import_module(module_name)
    for name in path.split("."):
        try:
            function = getattr(function, name)
        except AttributeError:
            msg = f"module {module_name!r} has no {path!r}"
            raise _Refusal(msg) from None
    if not callable(function):
        msg = f"{request['call']!r} cannot be called"
        raise _Refusal(msg)
    value = function(*request["args"], **request["kwargs"])
    try:
        output = json.dumps(value, allow_nan=False, ensure_ascii=False)
        output.encode()
    except UnicodeEncodeError as error:
        part = output[max(error.start - 20, 0) : error.end + 20]
        msg = f"the function returned text with half of a surrogate pair: {part}"
        raise _Refusal(msg) from None
    except (TypeError, ValueError, RecursionError) as error:
        msg = f"the function returned what is not JSON: {error}"
        raise _Refusal(msg) from None
    size = len(output.encode())
    if size > request["output_bytes_max"]:
        msg = f"the output has {size} bytes; at most {request['output_bytes_max']} are kept"
        raise _Refusal(msg)
    return output


def _handle(request: dict) -> str:  # type: ignore[type-arg]
    """Make one call; return the line that says how it ended."""
    os.chdir(request["directory"])
    try:
        return '{"output":' + _call(request) + "}"
    except _Refusal as refusal:
        return json.dumps({"error": _escaped(str(refusal))})
    except SystemExit:
        raise
    except BaseException as error:  # noqa: BLE001 - Whatever the user's code raises is its result.
        kind, _, trace = sys.exc_info()
        # Without the frames of this file.
        while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
            trace = trace.tb_next
        traceback.print_exception(kind, error, trace)
        return json.dumps({"error": _escaped(f"{type(error).__name__}: {error}".rstrip(": "))})
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.chdir("/")


def _escaped(text: str) -> str:
    """The text with what is no character (half of a surrogate pair) written as an escape."""
    return text.encode("utf-8", "backslashreplace").decode()


def _surroundings() -> tuple[object, ...]:
    """What a call can change, unnoticed, for the calls after it."""
    mask = os.umask(0)
    os.umask(mask)
    handlers = [signal.getsignal(number) for number in signal.valid_signals()]
    timers = [signal.getitimer(timer)[0] > 0 for timer in _TIMERS]
    return dict(os.environ), mask, handlers, timers, sys.stdin, sys.stdout, sys.stderr


def _still_runs() -> bool:
    """Return whether something of the call still runs: a thread of Python's, or a process.

    Processes that have lost their parent are our children: see `adopts` of the worker's launchers.
    """
    # Counts those that `threading` does not know, too.
    if _thread._count() > _OWN_THREADS:  # noqa: SLF001
        return True
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _changed() -> bool:
    """Return whether the source of a loaded module is not what it was, so that we run old code."""
    for file, modified in _times.items():
        try:
            if os.stat(file).st_mtime != modified:
                return True
        except OSError:
            return True
    return False


def _note_modules() -> None:
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and file not in _times:
            if file.startswith((sys.prefix, sys.base_prefix)) or not os.path.isfile(file):
                continue  # What is installed does not change between two jobs.
            _times[file] = os.stat(file).st_mtime


def _read(requests: int, lines: queue.Queue) -> None:  # type: ignore[type-arg]
    """Pass requests on; at the pipe's end the worker is gone, and so must be all we started."""
    with open(requests, "rb") as reader:
        for line in reader:
            lines.put(line)
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _offer_progress(pipe: str) -> None:
    """Make the module `taskplane_job`; `pipe`: where the worker reads progress."""

    def progress(fraction: float) -> None:
        """Say how much of the job is done, from 0 to 1; raises ValueError for anything else."""
        number = float(fraction)
        if not 0 <= number <= 1:
            msg = f"progress takes a number from 0 to 1, not {fraction!r}"
            raise ValueError(msg)
        try:
            # Without a reader, opening it would otherwise wait.
            writer = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            return  # Whatever became of it: the work itself goes on.
        try:
            os.set_blocking(writer, True)
            os.write(writer, b"%.6f\n" % number)
        finally:
            os.close(writer)

    module = types.ModuleType("taskplane_job", "What a job can report to its worker.")
    module.progress = progress  # type: ignore[attr-defined]
    sys.modules[module.__name__] = module


def main() -> None:
    """Serve calls until the worker closes the pipe."""
    requests, replies = int(sys.argv[1]), int(sys.argv[2])
    for pipe in (requests, replies):
        os.set_inheritable(pipe, False)
    sys.path[:1] = sys.argv[3:]  # The first was this file's folder.
    sys.argv = [""]
    _offer_progress(os.environ["TP_PROGRESS"])
    lines: queue.Queue = queue.Queue()  # type: ignore[type-arg]
    threading.Thread(target=_read, args=(requests, lines), daemon=True).start()
    former: set[str] = set()
    while True:
        request = json.loads(lines.get())
        for name in former.difference(request["env"]):
            os.environ.pop(name, None)  # It was of another call: a time it was scheduled for, say.
        former = set(request["env"])
        os.environ.update(request["env"])
        before = _surroundings()
        reply = '{"stale":true}' if _changed() else _handle(request)
        if _surroundings() != before or _still_runs():
            reply = reply[:-1] + ',"leaves":true}'
        _note_modules()
        data = reply.encode() + b"\n"
        while data:
            data = data[os.write(replies, data) :]


if __name__ == "__main__":
    main()
