"""How results are shown: as a table."""

from __future__ import annotations

from results import Result


def table(result: Result) -> str:
    """A few lines for one bar."""
    lines = [f"{result.bar.name}: {result.bar.title} ({result.bar.metric})"]
    for number, found in enumerate(result.comparisons()):
        medians = result.medians(number)
        figure = found.figure
        line = f"  {found.peer or result.bar.ours.name:<34}{figure.median:>9.2f}"
        line += f" [{figure.least:.2f}..{figure.most:.2f}]"
        if found.ratio:
            line += f"  ratio {found.ratio.median:.3f} [{found.ratio.least:.3f}..{found.ratio.most:.3f}]"
        if found.met is not None:
            line += f"  at most {found.at_most:g}: {'met' if found.met else 'MISSED'}"
        lines.append(
            f"{line}   {medians['per_second']:.0f}/s p50 {medians['p50']:.0f} p99 {medians['p99']:.0f} "
            f"cpu {100 * medians['utilisation']:.0f}% rss {medians['rss'] / 1e6:.1f} MB"
        )
    return "\n".join(lines)
