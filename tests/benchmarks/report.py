"""How results are shown: as a table, of which a bar's lines can be printed as soon as they are there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from results import Result, Row, Spread

_HEAD = (
    "bar",
    "server",
    "figure",
    "ratio",
    "at most",
    "",
    "requests/s",
    "p50 µs",
    "p99 µs",
    "busy",
    "others",
    "MiB",
)
_WIDTHS = (14, 34, 27, 19, 8, 6, 10, 8, 8, 5, 6, 5)
_LEFT = 2  # columns of words; the others are of numbers

#: What the columns mean.
NOTES = """\
figure: the median of the rounds (least..most): processor time of the server for a request, user and system,
  children included; in idle-*, growth of its resident memory for a connection; in slow-senders, the 99th
  percentile of the time to an answer; in start, from its exec until it listens.
ratio: the first server of the bar to this one, the median of the rounds' ratios (least..most); below 1 the
  first is better. at most: the bar.
busy: the share of its processor that the server took. Well below 100 % it waited for the load, whose limit
  requests/s then is. others: the share of a processor that went to other processes, in the worst round: where
  it is much, the figures are worth little. MiB: the server's resident memory after the load."""


class Table:
    """Lines of columns, aligned for the eye, or with the bars of Markdown."""

    def __init__(self, markdown: bool = False) -> None:
        self._markdown = markdown

    def head(self) -> str:
        """The lines before the first bar."""
        if not self._markdown:
            return self._line(_HEAD)
        rules = ["---" if number < _LEFT else "---:" for number in range(len(_HEAD))]
        return f"{self._line(_HEAD)}\n{self._line(rules)}"

    def lines(self, result: Result) -> str:
        """The lines of a bar."""
        form = result.bar.metric.form
        return "\n".join(
            self._line((result.bar.name if number == 0 else "", row.server, *_figures(row, form)))
            for number, row in enumerate(result.rows())
        )

    def _line(self, cells: Sequence[str]) -> str:
        if self._markdown:
            return f"| {' | '.join(cells)} |"
        padded = (
            cell.ljust(width) if number < _LEFT else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(cells, _WIDTHS, strict=True))
        )
        return " ".join(padded).rstrip()


def _figures(row: Row, form: str) -> Iterable[str]:
    yield _spread(row.figure, form)
    yield "" if row.ratio is None else _spread(row.ratio, "{:.2f}")
    if row.at_most is None:
        yield ""
    else:
        yield f"{row.at_most:g}" if row.ratio else form.format(row.at_most)
    yield "" if row.met is None else "met" if row.met else "MISSED"
    yield f"{row.median('per_second'):,.0f}"
    yield f"{row.median('p50'):,.0f}"
    yield f"{row.median('p99'):,.0f}"
    yield f"{row.median('busy'):.0%}"
    yield f"{max(figures.disturbed for figures in row.rounds):.0%}"
    yield f"{row.median('rss') / 2**20:.0f}"


def _spread(spread: Spread, form: str) -> str:
    """``8.75 µs (8.52..9.13)``: the unit once."""
    number = form.partition(" ")[0]
    return f"{form.format(spread.median)} ({number.format(spread.least)}..{number.format(spread.most)})"
