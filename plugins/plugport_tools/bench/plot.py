"""The plot: bars of the figures of each strategy, drawn by matplotlib."""

from __future__ import annotations

import io
import os
from importlib.util import find_spec
from pathlib import Path

from plugport.errors import PlugportError, UnavailableError
from plugport_tools.bench.report import Report

__all__ = ["PlotError", "check_plot", "draw_plot"]

_FORMATS = (".svg", ".png")


class PlotError(PlugportError):
    """The plot can't be written to the file."""


def check_plot(path: Path) -> None:
    """Check that a plot can be drawn and written to *path*, before anything is measured.

    Raises PlotError for a name that is not .svg or .png or a place that can't be written,
    UnavailableError if matplotlib is missing.
    """
    if path.suffix not in _FORMATS:
        raise PlotError(f"can't plot to {str(path)!r}: the name must end in {' or '.join(_FORMATS)}")
    if path.is_dir() or not path.parent.is_dir():
        what = "it is a folder" if path.is_dir() else f"there is no folder {str(path.parent)!r}"
        raise PlotError(f"can't plot to {str(path)!r}: {what}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise PlotError(f"can't plot to {str(path)!r}: permission denied")
    if find_spec("matplotlib") is None:
        raise UnavailableError("a plot needs matplotlib: pip install 'plugport[plot]'")


def draw_plot(report: Report, path: Path) -> None:
    """Draw requests a second, CPU time of a request, and p99, for each strategy that was measured."""
    from matplotlib.figure import Figure

    measured = report.measured[::-1]  # bars are drawn upwards
    names = [each.candidate.strategy for each in measured]
    panels = [("requests/s", [each.requests_per_second for each in measured])]
    costs = [each.cpu_per_request for each in measured]
    known = [1e6 * cost for cost in costs if cost is not None]
    if len(known) == len(names):
        panels.append(("CPU us/request", known))
    panels.append(("p99 ms", [1e3 * each.p99 for each in measured]))
    figure = Figure(figsize=(3.5 * len(panels) + 1, 0.45 * len(names) + 1.5), layout="constrained")
    figure.suptitle("\n".join(report.heading()), fontsize="small", parse_math=False)
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axis, (title, values) in zip(axes, panels, strict=True):
        bars = axis.barh(names, values)
        axis.bar_label(bars, fmt="{:,.3g}" if max(values) < 1000 else "{:,.0f}", padding=3)
        axis.set_title(title)
        axis.margins(x=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    drawn = io.BytesIO()
    figure.savefig(drawn, format=path.suffix[1:])
    path.write_bytes(drawn.getvalue())
