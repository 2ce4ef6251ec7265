"""Measures plugport beside its peers, on the same work, in one run, and prints ratios.

    python -m pip install . -r tests/benchmarks/requirements.txt
    python tests/benchmarks/run.py [BAR ...] [--rounds N] [--seconds S] [--json FILE] [--plot FILE]

    python tests/benchmarks/run.py [BAR ...] --merge FILE ... [--page FILE]

On Linux, with a C compiler, and with nothing else running: one processor is for the server, one for the
load. All bars take about a quarter of an hour; run.py --help lists them, bars.py says what they are.

A round of a server is a process of its own, so that what is luck in a process (where its memory lies, how
its strings hash) is in the spread of the rounds, and not in the figure. The servers of a bar take turns,
A B C A B C, so that what changes on the machine changes for all. Around the measured part, when all
requests are answered and the server is at rest, the processor time of the server and its children is taken
from the operating system; a ratio is made of two servers of one round, and the median over the rounds is
what is compared with the bar. The load (native/load.c) checks every byte; whatever goes wrong is an
error, and no figure.

What an earlier run has written (--json) can be taken into the table: of a bar in several files the last
one counts, and one that is named is measured anew. --page puts the table into a page, in the place of the
one that is there.

The exit status is 0 also where a bar is missed, unless --check is given: then it is 1. It is 2 for an
error. Progress goes to standard error.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "helpers"))

from accounts import Processors, pinned, processors
from bar import Bar
from bars import BARS
from compiler import program
from crowd import raise_limit
from earlier import earlier
from errors import BenchmarkError
from experiment import Figures, measure
from loads import Load
from page import put_table
from report import NOTES, Table
from results import Result
from smoke import check_load
from surroundings import REQUIREMENTS, in_words, surroundings


def main(bars: Sequence[Bar] = BARS, requirements: Path = REQUIREMENTS, about: str | None = __doc__) -> int:
    """Run the command line for these bars, or those of others; return the exit status.

    *requirements*: the file that names the packages that they need. *about*: what --help says first.
    """
    options = parse(bars, about or "")
    native = any(isinstance(load, Load) for bar in options.bars for _, load in bar.subjects())
    try:
        where = processors()
        facts = surroundings(where, requirements)
        for name in ("load", "echo") if native else ():
            program(name)
        raise_limit()
        pinned(where.load)()  # this process, out of the server's way
        if where.server == where.load:
            warn("server and load share the one processor there is: times and requests/s mean little")
        if facts["load_average"] > 0.5 and not options.smoke:
            warn(f"other processes are at work, load average {facts['load_average']:.1f}")
        if options.smoke and native:
            check_load(where)
        print(in_words(facts), end="\n\n")
        table = Table(options.markdown)
        print(table.head(), flush=True)
        found, failures = earlier(options.merge, bars), {}
        results = []
        for bar in bars:
            if bar in options.bars:
                found.pop(bar.name, None)
                try:
                    found[bar.name] = run(bar, options, where)
                except BenchmarkError as error:
                    failures[bar.name] = str(error)
                    warn(f"{bar.name} failed: {error}")
            if bar.name in found:
                results.append(found[bar.name])
                print(table.lines(results[-1]), flush=True)
        print(f"\n{'A smoke test: no figure means anything.' if options.smoke else NOTES}")
        if options.json:
            described = {
                **facts,
                "rounds": options.rounds,
                "seconds": options.seconds,
                "bars": [result.describe() for result in results],
                "failed": failures,
            }
            options.json.write_text(json.dumps(described, indent=1) + "\n")
        if options.page:
            put_table(results, options.page)
        if options.plot and results:
            from plot import draw

            draw(results, options.plot)
    except BenchmarkError as error:
        warn(str(error))
        return 2
    except KeyboardInterrupt:
        return 130
    if failures:
        return 2
    return int(options.check and any(result.missed() for result in results))


def run(bar: Bar, options: argparse.Namespace, where: Processors) -> Result:
    """Measure the servers of a bar in turn, so many rounds."""
    subjects = bar.subjects()
    figures: list[list[Figures]] = [[] for _ in subjects]
    for number in range(options.rounds):
        for found, (server, load) in zip(figures, subjects, strict=True):
            progress(f"{bar.name}: round {number + 1} of {options.rounds}, {server.name}")
            load = load.tiny() if options.smoke else load.lasting(options.seconds)
            found.append(measure(server, load, options.host, where))
    progress("")
    return Result(bar, tuple(map(tuple, figures)))


def parse(bars: Sequence[Bar], about: str) -> argparse.Namespace:
    """Read the command line; what is wrong in it ends with status 2."""
    names = {bar.name: bar for bar in bars}
    parser = argparse.ArgumentParser(
        description=about.partition("\n")[0],
        epilog="\n".join(bar_list(bars)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bars", metavar="BAR", nargs="*", help="what to measure; without any, all")
    parser.add_argument("--rounds", type=whole, default=5, help="rounds of each server (5)")
    parser.add_argument("--seconds", type=positive, default=1.5, help="measured seconds of a round (1.5)")
    parser.add_argument(
        "--host", type=ipv4, default="127.0.0.1", help="IPv4 address to listen on (127.0.0.1)"
    )
    parser.add_argument("--markdown", action="store_true", help="print the table in Markdown")
    parser.add_argument("--json", type=writable, metavar="FILE", help="write all figures of all rounds")
    parser.add_argument(
        "--merge",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="take the results of an earlier run, as --json wrote them; only BARs that are named are run",
    )
    parser.add_argument(
        "--page", type=writable, metavar="FILE", help="put the table into a Markdown page that has one"
    )
    parser.add_argument("--plot", type=writable, metavar="FILE", help="draw processor times, .svg or .png")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a bar is missed")
    parser.add_argument(
        "--smoke", action="store_true", help="one round of tiny loads: proves that it works, measures nothing"
    )
    options = parser.parse_args()
    for name in options.bars:
        if name not in names:
            parser.error(f"no bar {name!r}; there are {', '.join(names)}")
    options.bars = [names[name] for name in options.bars] or ([] if options.merge else list(bars))
    if options.smoke:
        options.rounds = 1
    return options


def bar_list(bars: Sequence[Bar]) -> Iterator[str]:
    """The bars, a line each."""
    yield "bars:"
    for bar in bars:
        yield f"  {bar.name:<16}{bar.title}"


def whole(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, got {text}")
    return value


def positive(text: str) -> float:
    value = float(text)
    if not 0 < value < 3600:
        raise argparse.ArgumentTypeError(f"expected seconds, got {text}")
    return value


def ipv4(text: str) -> str:
    return str(IPv4Address(text))


def writable(text: str) -> Path:
    path = Path(text)
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"the folder {path.parent} does not exist")
    return path


def warn(message: str) -> None:
    print(f"benchmarks: {message}", file=sys.stderr)


def progress(what: str) -> None:
    """Say what is under way: in place on a terminal, else in lines."""
    if sys.stderr.isatty():
        print(f"\r\033[K{what}", end="", file=sys.stderr, flush=True)
    elif what:
        print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
