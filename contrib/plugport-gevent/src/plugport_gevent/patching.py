"""Patching the standard library for gevent, in the process that serves and before it does anything else."""

from __future__ import annotations

import threading
import warnings

from gevent import monkey
from plugport.errors import OptionError

__all__ = ["patch_process"]


def patch_process() -> list[str]:
    """Have the waiting calls of the standard library switch to other greenlets; return gevent's warnings.

    Does nothing in a process that is patched already. Raises OptionError where other threads run:
    a lock that one of them holds, or waits for, would never be released.
    """
    if monkey.is_module_patched("socket"):
        return []
    main = threading.main_thread()
    others = sorted(thread.name for thread in threading.enumerate() if thread is not main)
    if others or threading.current_thread() is not main:
        raise OptionError(
            "the standard library can't be patched for gevent: other threads run already "
            f"({', '.join(others)}); let what starts them, a plugin say, do so when the server is bound, "
            "or do without by -o patch=false"
        )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", monkey.MonkeyPatchWarning)
        monkey.patch_all()
    return [f"gevent: {' '.join(str(warning.message).split())}" for warning in caught]
