"""Owns the system calls of Landlock, by which a Linux process gives up rights for good.

See landlock(7) and the kernel's Documentation/userspace-api/landlock.rst. Written here because the
one binding on the package index has been a pre-release for years and knows neither the scopes nor
the rights of newer kernels; three system calls need no dependency.
"""

import ctypes
import os
import struct
import sys
from collections.abc import Iterable
from typing import Final

# The numbers are the same on every architecture that Linux has named since 2019.
_CREATE_RULESET: Final = 444
_ADD_RULE: Final = 445
_RESTRICT_SELF: Final = 446
_VERSION_FLAG: Final = 1
_PATH_BENEATH: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_CAPBSET_DROP: Final = 24
# Capabilities of root that go around Landlock: DAC_READ_SEARCH opens a file by its inode's number,
# SYS_MODULE, SYS_RAWIO, and BPF reach into the kernel, SYS_PTRACE, PERFMON, and SYS_ADMIN read the
# environment of every process (kernel/fork.c: may_access_mm).
_PIERCING: Final = (2, 16, 17, 19, 21, 38, 39)

_EXECUTE: Final = 1 << 0
_WRITE_FILE: Final = 1 << 1
_READ_FILE: Final = 1 << 2
_TRUNCATE: Final = 1 << 14
_FILE_RIGHTS: Final = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE
# Of directories, bits 3 to 13: list, remove, make, and link or rename from one into another.
_RIGHTS: Final = {2: (1 << 14) - 1, 3: (1 << 15) - 1}  # By ABI; devices stay as they are.
_SCOPES: Final = 0b11  # Abstract unix sockets, and signals.

ABI_MIN: Final = 2  # Before, nothing could be renamed from one directory into another (Linux 5.19).
ABI_SCOPES: Final = 6  # From then on signals and abstract sockets are held back (Linux 6.12).


_ATTR: Final = struct.Struct("=QQQ")  # Rights on files, on the network; scopes.
_OLD_ATTR: Final = struct.Struct("=Q")  # An older kernel refuses fields that it does not know.
_RULE: Final = struct.Struct("=Qi")  # Rights, descriptor.

# These calls are shorter than giving the interpreter lock away and getting it back.
_libc: Final = ctypes.PyDLL(None, use_errno=True) if sys.platform == "linux" else None


def abi() -> int:
    """The version of Landlock that this kernel has; 0: none that may be used."""
    if _libc is None:
        return 0
    version: int = _libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION_FLAG)
    return max(version, 0)


def make_ruleset(version: int, allowed: Iterable[tuple[int, bool]]) -> int:
    """A ruleset's descriptor: only files at or beneath these may be used; raises OSError.

    `allowed`: descriptors (O_PATH does), and whether each is a directory.
    """
    assert _libc is not None
    rights = _RIGHTS[min(version, max(_RIGHTS))]
    scopes = _SCOPES if version >= ABI_SCOPES else 0
    attr = _ATTR.pack(rights, 0, scopes) if scopes else _OLD_ATTR.pack(rights)
    size = ctypes.c_size_t(len(attr))
    ruleset = _checked(_libc.syscall(_CREATE_RULESET, attr, size, 0))
    try:
        for descriptor, is_directory in allowed:
            rule = _RULE.pack(rights if is_directory else rights & _FILE_RIGHTS, descriptor)
            _checked(_libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0))
    except BaseException:
        os.close(ruleset)
        raise
    return ruleset


def restrict_process(ruleset: int) -> None:
    """Let this process, of one thread, and all that it starts, keep to a ruleset; raises OSError.

    Nothing can undo it. Programs with set-user-id bits gain nothing any more.
    """
    assert _libc is not None
    _checked(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    if os.geteuid() == 0:
        for capability in _PIERCING:  # A program that root starts does not get them back.
            _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    _checked(_libc.syscall(_RESTRICT_SELF, ruleset, 0))


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"Landlock: {os.strerror(number)}")
    return result
