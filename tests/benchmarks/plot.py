"""The picture of results: processor time for a request of each server, as horizontal bars."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bar import CPU
from results import Result

_OURS, _PEERS = "#1f6f8b", "#b8bec4"


def draw(results: Sequence[Result], path: Path) -> None:
    """Write the picture of those results that are of processor time; the suffix of *path* says which kind."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "plugport"  # the same results make the same file
    from matplotlib.figure import Figure

    shown = [result for result in results if result.bar.metric is CPU]
    heights = [len(result.rounds) + 1.2 for result in shown]
    figure = Figure(figsize=(9, 0.3 * sum(heights) + 0.6), layout="constrained")
    parts = figure.subplots(len(shown), 1, squeeze=False, gridspec_kw={"height_ratios": heights})
    for axes, result in zip(parts[:, 0], shown, strict=True):
        rows = result.rows()
        medians = [row.figure.median for row in rows]
        spreads = [
            [row.figure.median - row.figure.least for row in rows],
            [row.figure.most - row.figure.median for row in rows],
        ]
        colours = [_OURS, *[_PEERS] * (len(rows) - 1)]
        bars = axes.barh([row.server for row in rows], medians, xerr=spreads, color=colours, ecolor="#555555")
        axes.bar_label(bars, fmt="%.1f", padding=6, fontsize=8)
        axes.invert_yaxis()
        axes.margins(x=0.12)
        axes.set_title(f"{result.bar.name}: {result.bar.title}", loc="left", fontsize=9)
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    parts[-1, 0].set_xlabel(
        "processor time of the server for a request, µs (median; least and most)", fontsize=9
    )
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
