"""Results of earlier runs, read back from what ``run.py --json`` wrote."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bar import Bar
from errors import BenchmarkError
from experiment import Figures
from results import Result


def earlier(paths: Sequence[Path], bars: Sequence[Bar]) -> dict[str, Result]:
    """Read the results of *bars* by their names; of one that is in several files, the last one's.

    Raises BenchmarkError for a file that is none of ours, or is of other servers than bars.py has now.
    """
    known = {bar.name: bar for bar in bars}
    found = {}
    for path in paths:
        try:
            described = json.loads(path.read_text())["bars"]
            for one in described:
                if one["name"] in known:
                    found[one["name"]] = _result(known[one["name"]], one)
        except OSError as error:
            raise BenchmarkError(f"can't read {path}: {error.strerror}") from error
        except (KeyError, TypeError, ValueError) as error:
            raise BenchmarkError(f"{path} does not hold what run.py --json writes: {error}") from error
    return found


def _result(bar: Bar, described: dict[str, Any]) -> Result:
    rows = {
        row["server"]: tuple(Figures(**figures) for figures in row["rounds"]) for row in described["servers"]
    }
    names = [server.name for server, _ in bar.subjects()]
    if names != list(rows):
        raise ValueError(f"{bar.name} was measured with {', '.join(rows)}, and is now {', '.join(names)}")
    return Result(bar, tuple(rows.values()))
