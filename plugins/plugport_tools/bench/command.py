"""``plugport bench``: measures a handler under each strategy and recommends one."""

from __future__ import annotations

import math
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

import click

from plugport.cli import Session, complete_component, print_json, print_table
from plugport_tools.bench.settings import Settings

if TYPE_CHECKING:
    from plugport_tools.bench.report import Report

__all__ = ["bench"]

_DEFAULTS = Settings()
_DEFAULT_URL = "tcp://127.0.0.1:0"
_DEFAULT_PAYLOAD = b"hello, plugport\n"
_ESCAPES = {"\\": "\\", "n": "\n", "r": "\r", "t": "\t", "0": "\0"}


def _unescape(context: click.Context, parameter: click.Parameter, text: str | None) -> bytes | None:
    """Return the bytes of a payload with its escapes, which make any request possible in any shell."""
    if text is None:
        return None

    def replace(found: re.Match[str]) -> str:
        name = found[1]
        if len(name) == 3:
            byte = int(name[1:], 16)
            return chr(byte) if byte < 0x80 else chr(0xDC00 + byte)  # as "surrogateescape" has bytes
        if name not in _ESCAPES:
            raise click.BadParameter(rf"'\{name}' is none of \n, \r, \t, \0, \\ and \xHH", context, parameter)
        return _ESCAPES[name]

    return re.sub(r"\\(x[0-9a-fA-F]{2}|.?)", replace, text, flags=re.DOTALL).encode(
        "utf-8", "surrogateescape"
    )


def _check_finite(context: click.Context, parameter: click.Parameter, value: float) -> float:
    if not math.isfinite(value):
        raise click.BadParameter(f"{value} is no number of seconds", context, parameter)
    return value


def _check_plot(context: click.Context, parameter: click.Parameter, path: Path | None) -> Path | None:
    if path is not None:
        from plugport_tools.bench.plot import check_plot

        check_plot(path)
    return path


@click.command()
@click.argument("handler", shell_complete=complete_component("handler"))
@click.argument("url", default=_DEFAULT_URL)
@click.option(
    "-c",
    "--concurrency",
    "strategies",
    metavar="STRATEGY",
    multiple=True,
    shell_complete=complete_component("concurrency"),
    help="Concurrency strategy to measure (default: all that are installed). May be repeated.",
)
@click.option(
    "-o",
    "--option",
    "options",
    metavar="KEY=VALUE",
    multiple=True,
    help="Option as for 'plugport serve'; a strategy without it runs without it. May be repeated.",
)
@click.option(
    "--seconds",
    metavar="SECONDS",
    type=click.FloatRange(min=0, min_open=True),
    default=_DEFAULTS.seconds,
    callback=_check_finite,
    show_default=True,
    help="Seconds for which each strategy is measured, in all its rounds together.",
)
@click.option(
    "--rounds",
    metavar="NUMBER",
    type=click.IntRange(min=2),
    default=_DEFAULTS.rounds,
    show_default=True,
    help="Number of rounds; in each, every strategy is measured once.",
)
@click.option(
    "--connections",
    metavar="NUMBER",
    type=click.IntRange(min=1),
    default=_DEFAULTS.connections,
    show_default=True,
    help="Number of clients at once.",
)
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=click.FloatRange(min=0, min_open=True),
    default=_DEFAULTS.timeout,
    callback=_check_finite,
    show_default=True,
    help="Seconds that an answer may take.",
)
@click.option(
    "--payload",
    metavar="TEXT",
    callback=_unescape,
    help=r"Request, with the escapes \n, \r, \t, \0, \\ and \xHH (default: a line).",
)
@click.option(
    "--payload-file",
    metavar="FILE",
    type=click.File("rb"),
    help="File with the request, without escapes (-: standard input).",
)
@click.option(
    "--new-connections",
    is_flag=True,
    help="Make a connection for each request, even if the handler keeps connections.",
)
@click.option("--json", "as_json", is_flag=True, help="Write JSON: an object.")
@click.option(
    "--plot",
    metavar="FILE",
    type=click.Path(path_type=Path),
    callback=_check_plot,
    help="File for a plot of the figures, .svg or .png (needs matplotlib).",
)
@click.pass_context
def bench(
    context: click.Context,
    /,
    handler: str,
    url: str,
    strategies: tuple[str, ...],
    options: tuple[str, ...],
    payload: bytes | None,
    payload_file: BinaryIO | None,
    new_connections: bool,
    as_json: bool,
    plot: Path | None,
    **numbers: Any,
) -> None:
    """Measure a handler under each strategy, recommend one.

    HANDLER and URL are as for 'plugport serve'; the default URL is tcp://127.0.0.1:0, any free port.
    A probe finds out how the payload is answered, and whether connections are kept. Each strategy
    runs in a process of its own; other processes on the same machine make the load. The exit
    status is 1 if no strategy could be measured.
    """
    # Late: `plugport bench --help` needs none of it.
    from plugport_tools.bench.loaders import raise_descriptor_limit
    from plugport_tools.bench.measure import measure, probe_service
    from plugport_tools.bench.plan import make_plan
    from plugport_tools.bench.report import Report

    session = context.find_object(Session)
    assert session is not None
    if payload is not None and payload_file is not None:
        raise click.UsageError("--payload and --payload-file exclude each other", context)
    if payload_file is not None:
        payload = payload_file.read()
    settings = Settings(**numbers, keep_alive=not new_connections, global_options=_global_options(session))
    plan = make_plan(session.registry, handler, url, strategies, options)
    if new_connections and not plan.is_stream:
        raise click.UsageError(f"--new-connections: {plan.url} has no connections", context)
    raise_descriptor_limit(settings.connections)
    with _unwound_by_signals(), _progress(len(plan.legal) * settings.rounds) as progress:
        exchange = probe_service(plan, _DEFAULT_PAYLOAD if payload is None else payload, settings)
        report = Report(plan, settings, exchange, measure(plan, exchange, settings, progress))
    if as_json:
        print_json(report.as_object())
    else:
        _print(report)
    if plot is not None and report.measured:
        from plugport_tools.bench.plot import draw_plot

        draw_plot(report, plot)
    context.exit(0 if report.measured else 1)


def _global_options(session: Session) -> tuple[str, ...]:
    """Return the global options with which a service finds the same components as this process."""
    strict = ("--strict-plugins",) if session.strict else ()
    return (*strict, *(f"--disable-plugin={name}" for name in session.disable))


def _print(report: Report) -> None:
    from plugport_tools.bench.report import HEADER

    for line in report.heading():
        click.echo(line)
    click.echo()
    if report.measured:
        print_table("", HEADER, report.rows())
    for line in report.footnotes():
        click.echo(line)
    click.echo()
    for line in report.advice():
        click.echo(line)


@contextmanager
def _progress(steps: int) -> Iterator[Callable[[str], None]]:
    """Yield a function of the name of the next step; on a terminal it moves a progress bar."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield lambda step: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    # Drawn between the rounds: a thread that draws would take processor time from the measurement.
    with Progress(
        BarColumn(),
        TextColumn("{task.description}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        auto_refresh=False,
    ) as bar:
        task = bar.add_task("probing the handler", total=steps)
        bar.refresh()
        begun = 0

        def step(name: str) -> None:
            nonlocal begun
            bar.update(task, completed=begun, description=name, refresh=True)
            begun += 1

        yield step


@contextmanager
def _unwound_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP unwind the block, as Ctrl-C does, so that no child is left."""

    def end(number: int, frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread can set signal handlers
        return
    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
