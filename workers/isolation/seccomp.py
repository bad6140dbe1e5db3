"""Owns the seccomp filter of jobs: no limit or priority of another process is theirs to change.

Landlock governs files and signals, not these calls, for which the same user is enough: a limit of
one second of CPU ends the control plane. See seccomp(2), the kernel's seccomp_filter.rst, and its
tables of system calls.
"""

import ctypes
import errno
import os
import platform
import struct
import sys
from typing import Final, NamedTuple

_PR_SET_SECCOMP: Final = 22
_MODE_FILTER: Final = 2
_X32_BIT: Final = 0x4000_0000
# Instructions of classic BPF: load a word, mask it, compare it, return.
_LOAD, _AND, _EQUAL, _RETURN = 0x20, 0x54, 0x15, 0x06
_ALLOW: Final = 0x7FFF_0000
_REFUSE: Final = 0x0005_0000 | errno.EPERM
_NUMBER_AT, _ARCH_AT, _ARGUMENTS_AT = 0, 4, 16
_INSTRUCTION: Final = struct.Struct("=HBBI")


class _Calls(NamedTuple):
    """An architecture, and (number, which argument is the other process) of each call."""

    arch: int
    calls: tuple[tuple[int, int], ...]


# prlimit64, setpriority, sched_setaffinity, _setscheduler, _setparam, _setattr, ioprio_set,
# migrate_pages, move_pages.
_X86_64: Final = _Calls(
    0xC000_003E,
    ((302, 0), (141, 1), (203, 0), (144, 0), (142, 0), (314, 0), (251, 1), (256, 0), (279, 0)),
)
_I386: Final = _Calls(
    0x4000_0003,
    ((340, 0), (97, 1), (241, 0), (156, 0), (154, 0), (351, 0), (289, 1), (294, 0), (317, 0)),
)
_AARCH64: Final = _Calls(
    0xC000_00B7,
    ((261, 0), (140, 1), (122, 0), (119, 0), (118, 0), (274, 0), (30, 1), (238, 0), (239, 0)),
)
_TABLES: Final = {"x86_64": (_X86_64, _I386), "aarch64": (_AARCH64,)}

_libc: Final = ctypes.PyDLL(None, use_errno=True) if sys.platform == "linux" else None


class _Filter(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p)]


def is_available() -> bool:
    """Whether this kernel has filters, and this architecture's calls are known here."""
    if _libc is None or _PROGRAM is None:
        return False
    # Without a filter to install: EFAULT where there are filters, EINVAL where there are none.
    _libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, None, 0, 0)
    return ctypes.get_errno() == errno.EFAULT


def restrict_thread() -> None:
    """Let this thread, and all that it starts, change limits and priorities of its own only.

    It must have no_new_privs. Raises OSError; does nothing where filters are not available.
    """
    if _libc is None or _PROGRAM is None or not is_available():
        return
    program = _Filter(len(_PROGRAM) // _INSTRUCTION.size, _PROGRAM)
    if _libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program), 0, 0):
        number = ctypes.get_errno()
        raise OSError(number, f"seccomp: {os.strerror(number)}")


def _program(tables: tuple[_Calls, ...]) -> bytes:
    made: list[tuple[int, int, int, int]] = []
    for table in tables:
        block = [(_LOAD, 0, 0, _NUMBER_AT)]
        if table.arch == _X86_64.arch:
            block.append((_AND, 0, 0, 0xFFFF_FFFF ^ _X32_BIT))
        for number, argument in table.calls:
            block += [
                (_EQUAL, 0, 4, number),
                (_LOAD, 0, 0, _ARGUMENTS_AT + 8 * argument),
                (_EQUAL, 0, 1, 0),  # 0 is the caller itself.
                (_RETURN, 0, 0, _ALLOW),
                (_RETURN, 0, 0, _REFUSE),
            ]
        block.append((_RETURN, 0, 0, _ALLOW))
        made += [(_LOAD, 0, 0, _ARCH_AT), (_EQUAL, 0, len(block), table.arch), *block]
    made.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(_INSTRUCTION.pack(*each) for each in made)


_PROGRAM: Final = _program(_TABLES[platform.machine()]) if platform.machine() in _TABLES else None
