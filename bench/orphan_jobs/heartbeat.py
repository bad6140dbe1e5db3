"""Owns what the jobs of bench.orphans are: processes that write down when they live.

    python heartbeat.py DIRECTORY JOB ATTEMPT ROLE SECONDS [ROLE...]

Each line of DIRECTORY/heartbeats is: job, attempt, role, process, and nanoseconds of the clock that
all processes of a host share. Each further ROLE is started first, as a process that never ends.
"""

import os
import signal
import subprocess
import sys
import time

BEAT_S = 0.02
FILE = "heartbeats"


def beat(directory: str, job: str, attempt: str, role: str, seconds: float) -> None:
    """Write a line now and every BEAT_S until the time is over."""
    pid = os.getpid()
    ends = time.monotonic() + seconds
    file = os.open(os.path.join(directory, FILE), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    while True:
        line = f"{job} {attempt} {role} {pid} {time.monotonic_ns()}\n"
        os.write(file, line.encode())  # At once: lines of several processes do not mix.
        if time.monotonic() >= ends:
            break
        time.sleep(BEAT_S)
    os.close(file)


def start(directory: str, job: str, attempt: str, role: str) -> None:
    """Start a process that lives for ever: deaf ones ignore what asks them to end."""
    command = [sys.executable, "-I", "-S", __file__, directory, job, attempt, role, "1e9"]
    bare = role == "bare"
    subprocess.Popen(command, start_new_session=role != "group", env={} if bare else None)


def call(directory: str, seconds: float, roles: list[str]) -> None:
    """The same as a function for the kind Python."""
    job, attempt = os.environ["TP_JOB_ID"], os.environ["TP_ATTEMPT"]
    for role in roles:
        start(directory, job, attempt, role)
    beat(directory, job, attempt, "call", seconds)


def main() -> None:
    """One process."""
    directory, job, attempt, role, seconds, *others = sys.argv[1:]
    if role == "deaf":
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
    for other in others:
        start(directory, job, attempt, other)
    beat(directory, job, attempt, role, float(seconds))


if __name__ == "__main__":
    main()
