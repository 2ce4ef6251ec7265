"""Compares the handlers of plugport-http with their peers in one run, on the same work, and prints ratios.

    apt-get install nginx wrk
    python -m pip install . contrib/plugport-http -r contrib/plugport-http/benchmarks/requirements.txt
    python contrib/plugport-http/benchmarks/measure.py --markdown [BAR ...] [--rounds N] [--seconds S]

It uses tests/benchmarks/run.py, which explains the method, with other bars (http_bars.py) and
another load (wrk, by http_load.py).
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
TESTS = HERE.parents[2] / "tests"
# In front: modules here and there may have the same name.
sys.path[:0] = [str(TESTS / "benchmarks"), str(TESTS / "helpers")]

from http_bars import BARS  # noqa: E402
from run import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(BARS, HERE / "requirements.txt", __doc__))
