"""Decides what counts of the file to which a job wrote its output: JSON, in a file of its own."""

import os
import stat
from pathlib import Path

import msgspec
from msgspec import Raw

from control.model import limits, names
from control.model.errors import JobFailed


def read_output(path: Path) -> Raw:
    """Read what the command wrote to $TP_OUTPUT; raises JobFailed if that is not JSON."""
    name = f"${names.ENV_OUTPUT}"
    try:
        # Were it a named pipe by now, reading it would stop the worker; were it a link, the worker
        # would read for the job what the job itself may not.
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.open(path, flags)
    except FileNotFoundError:
        return Raw(b"null")
    except OSError as error:
        raise JobFailed(f"{name} cannot be read: {error.strerror}", exit_code=0) from error
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise JobFailed(f"{name} is not a file any more", exit_code=0)
    with open(file, "rb") as reader:
        data = reader.read(limits.OUTPUT_BYTES_MAX + 1).strip()
    if len(data) > limits.OUTPUT_BYTES_MAX:
        msg = f"{name} has more than {limits.OUTPUT_BYTES_MAX} bytes"
        raise JobFailed(msg, exit_code=0)
    if not data:
        return Raw(b"null")
    try:
        msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        msg = f"what the command wrote to {name} is not JSON: {error}"
        raise JobFailed(msg, exit_code=0) from error
    return Raw(data)
