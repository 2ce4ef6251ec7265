"""Counts what a request takes, where time can't be measured for the noise of the machine.

    python tests/benchmarks/count.py BAR {calls,instructions,faults} [--requests N]

calls: system calls of the server and its children, by strace -c -f. instructions: those of its own code, not
of the kernel's, by callgrind. faults: page faults of the server and of its children (proc(5), stat). Each
server of the bar runs under the bar's load with N requests, and again with 2 N: the difference is theirs.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "helpers"))

import servers
from accounts import Processors, processors, settled
from bars import BARS
from errors import BenchmarkError
from loads import Load, LoadRun
from servers import Running, Server

Counts = dict[str, float]


def calls(server: Server, load: Load, where: Processors) -> Counts:
    """System calls by their names."""
    with tempfile.NamedTemporaryFile("r") as out, Running(server, "127.0.0.1", where.server) as running:
        with LoadRun(load, running.address, where.load) as run:
            run.connect()
            run.warm_up()
            settled(running.pid)
            strace = subprocess.Popen(
                ["strace", "-c", "-f", "-o", out.name, "-p", str(running.pid)], stderr=subprocess.PIPE
            )
            strace.stderr.readline()  # type: ignore[union-attr]  # it says that it is attached
            run.measure()
            time.sleep(0.5)  # its last children end
            strace.terminate()
            strace.communicate()
        rows = [line.split() for line in out.read().splitlines()]
    return {
        row[-1]: float(row[3]) for row in rows if len(row) >= 5 and row[3].isdigit() and row[-1] != "total"
    }


def instructions(server: Server, load: Load, where: Processors) -> Counts:
    """Instructions of the process."""
    with tempfile.NamedTemporaryFile("r") as out:
        grind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out.name}"]
        slow = replace(server, command=lambda host: [*grind, *server.command(host)])
        patient = replace(load, patience=100)
        with (
            Running(slow, "127.0.0.1", where.server) as running,
            LoadRun(patient, running.address, where.load) as run,
        ):
            run.connect()
            run.warm_up()
            run.measure()
        total = re.search(r"^(?:summary|totals): (\d+)", Path(out.name).read_text(), re.MULTILINE)
    if total is None:
        raise BenchmarkError("callgrind has counted nothing")
    return {"instructions": float(total[1])}


def faults(server: Server, load: Load, where: Processors) -> Counts:
    """Page faults that read no disk, of the server and of its children that have ended."""
    with (
        Running(server, "127.0.0.1", where.server) as running,
        LoadRun(load, running.address, where.load) as run,
    ):
        run.connect()
        run.warm_up()
        run.measure()
        settled(running.pid)
        fields = Path(f"/proc/{running.pid}/stat").read_text().rpartition(")")[2].split()
    return {"server": float(fields[7]), "children": float(fields[8])}


COUNTS: dict[str, Callable[[Server, Load, Processors], Counts]] = {
    "calls": calls,
    "instructions": instructions,
    "faults": faults,
}


def per_request(what: str, server: Server, load: Load, requests: int, where: Processors) -> Counts:
    """What a request takes, by the difference of two runs."""
    few, many = (
        COUNTS[what](server, replace(load, requests=number, seconds=0, warm_up=0.1), where)
        for number in (requests, 2 * requests)
    )
    return {name: (count - few.get(name, 0.0)) / requests for name, count in many.items()}


def main() -> int:
    """Run the command line; return the exit status."""
    bars = {bar.name: bar for bar in BARS}
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])  # type: ignore[union-attr]
    parser.add_argument("bar", metavar="BAR", choices=bars, help="one of those of run.py")
    parser.add_argument("what", choices=COUNTS, help="what is counted")
    parser.add_argument("--requests", type=int, default=1000, help="requests of the shorter run (1000)")
    options = parser.parse_args()
    servers._PATIENCE = 120.0  # callgrind is slow to start
    where = processors()
    try:
        for server, load in bars[options.bar].subjects():
            found = per_request(options.what, server, load, options.requests, where)
            shown = sorted(
                ((name, count) for name, count in found.items() if count >= 0.01), key=lambda pair: -pair[1]
            )
            listed = ", ".join(
                f"{name} {count:,.0f}" if count >= 10 else f"{name} {count:.2f}" for name, count in shown
            )
            print(f"{server.name}: {listed}; in all {sum(count for _, count in shown):,.1f}", flush=True)
    except (BenchmarkError, FileNotFoundError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
