"""Owns how a process that holds secrets keeps them out of its neighbours' reach."""

import ctypes
import resource
import sys
from typing import Final

_PR_SET_DUMPABLE: Final = 4


def keep_memory_private() -> None:
    """Let no other process of this user read our memory, environment, or open files (Linux).

    Nor is there a core dump of it. What is started from here is as before: each program begins
    anew, only its soft limit of core dumps is 0. Must be called again after a change of user.
    """
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, most))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
