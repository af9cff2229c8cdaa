"""Processes that tests start: none outlives the test process."""

from __future__ import annotations

import ctypes
import sys
from signal import SIGKILL, Signals

LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG = 1


def die_with_parent(number: Signals = SIGKILL) -> None:
    """To be called in a new process: the kernel sends it the signal when the process that started
    it dies, even by SIGKILL.
    """
    if sys.platform == "linux":
        LIBC.prctl(PR_SET_PDEATHSIG, number)
