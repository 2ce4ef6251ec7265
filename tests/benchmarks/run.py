"""Measures plugport beside its peers, on the same work, in one run, and prints ratios.

    python tests/benchmarks/run.py [BAR ...] [--rounds N] [--seconds S] [--host ADDRESS]

Run by the Python of an environment that has plugport and requirements.txt, on Linux, with nothing else
running, on two processors: one for the server, one for the load.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "helpers"))

from accounts import Processors, processors
from bars import BARS, Bar
from crowd import raise_limit
from errors import BenchmarkError
from experiment import Figures, measure
from report import table
from results import Result


def run(bar: Bar, rounds: int, seconds: float, host: str, where: Processors) -> Result:
    """Measure all servers of a bar in turn, so many rounds, each round of a server in a new process."""
    subjects = [(bar.ours, bar.load), *((peer.server, peer.load or bar.load) for peer in bar.peers)]
    figures: list[list[Figures]] = [[] for _ in subjects]
    for number in range(rounds):
        for found, (server, load) in zip(figures, subjects, strict=True):
            print(f"{bar.name}: round {number + 1} of {rounds}, {server.name}", file=sys.stderr)
            found.append(measure(server, load.lasting(seconds), host, where))
    return Result(bar, tuple(map(tuple, figures)))


def main() -> int:
    """Run the command line; return the exit status."""
    names = {bar.name: bar for bar in BARS}
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])  # type: ignore[union-attr]
    parser.add_argument("bars", metavar="BAR", nargs="*", help=f"one of {', '.join(names)}; all without any")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each server")
    parser.add_argument("--seconds", type=float, default=1.5, help="measured seconds of a round")
    parser.add_argument("--host", default="127.0.0.1", help="the IPv4 address that servers listen on")
    options = parser.parse_args()
    for name in options.bars:
        if name not in names:
            parser.error(f"no bar {name!r}; there are {', '.join(names)}")
    raise_limit()
    where = processors()
    if where.shared:
        print("one processor for server and load: figures are rough", file=sys.stderr)
    try:
        for name in options.bars or names:
            result = run(names[name], options.rounds, options.seconds, options.host, where)
            print(table(result), flush=True)
    except BenchmarkError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
