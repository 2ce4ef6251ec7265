"""Runs a command without the privileges that root has beyond its name: ``unprivileged.py COMMAND...``.

``UNPRIVILEGED`` is what goes before such a command; it is empty where tests run as another user.
"""

from __future__ import annotations

import ctypes
import os
import sys

__all__ = ["UNPRIVILEGED"]

UNPRIVILEGED = (sys.executable, "-S", __file__) if os.geteuid() == 0 else ()

#: prctl(2)
_PR_CAPBSET_DROP = 24

if __name__ == "__main__":
    libc = ctypes.CDLL(None, use_errno=True)
    capability = 0
    while libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) == 0:  # until there is none of that number
        capability += 1
    os.execvp(sys.argv[1], sys.argv[1:])
