"""patch_process(): patch the standard library for gevent, in a process that is about to serve."""

from __future__ import annotations

import threading
import warnings

from gevent import monkey
from plugport.errors import OptionError

__all__ = ["patch_process"]


def patch_process() -> list[str]:
    """Patch the calls of the standard library that wait, so that they let other greenlets run.

    Returns gevent's warnings, one line each. Does nothing in a process that is patched already. Raises
    OptionError if other threads run: a lock that one of them holds or waits for would never be released.
    """
    if monkey.is_module_patched("socket"):
        return []
    main = threading.main_thread()
    others = sorted(thread.name for thread in threading.enumerate() if thread is not main)
    if others or threading.current_thread() is not main:
        raise OptionError(
            "the standard library can't be patched for gevent: other threads run already "
            f"({', '.join(others)}); start them in the hook server_bound, or disable the patch with "
            "-o patch=false"
        )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", monkey.MonkeyPatchWarning)
        monkey.patch_all()
    return [f"gevent: {' '.join(str(warning.message).split())}" for warning in caught]
