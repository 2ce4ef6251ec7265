"""plugport check and plugport matrix."""

from __future__ import annotations

import json
import re

import pytest
from command import only
from fakes import Run, SitePackages


@pytest.mark.usefixtures("my_dist")
def test_check(run: Run) -> None:
    legal = run("check", "upper", "tcp", "threading")
    assert (legal.returncode, legal.stdout, legal.stderr) == (0, "legal\n", "")
    warned = run("check", "upper", "tcp", "sync")
    assert warned.returncode == 0
    assert warned.stdout.startswith("legal\nwarning: one slow client makes the service deaf to all others; ")
    refused = run("check", "upper", "udp", "threading")
    assert (refused.returncode, refused.stderr) == (1, "")
    assert refused.stdout == "refused: a stream handler can't serve a datagram server; use a stream server\n"


@pytest.mark.usefixtures("my_dist")
def test_matrix(run: Run) -> None:
    result = run("matrix", "--json")
    assert (result.returncode, result.stderr) == (0, "")
    rows = json.loads(result.stdout)
    assert set(rows[0]) == {"handler", "server", "concurrency", "verdict", "bridge", "reason"}
    found = {(row["handler"], row["server"], row["concurrency"]): row for row in rows}
    assert found["upper", "tcp", "threading"]["verdict"] == "legal"
    assert found["upper", "tcp", "threading"]["reason"] is None
    assert found["upper", "udp", "threading"]["verdict"] == "refused"
    assert ("my-dist:echo", "tcp", "sync") in found
    assert "upper" in run("matrix").stdout


@pytest.mark.usefixtures("my_dist")
def test_the_matrix_is_a_grid(run: Run) -> None:
    rows = json.loads(run("matrix", "--json").stdout)
    strategies = list(dict.fromkeys(row["concurrency"] for row in rows))
    result = run("matrix", COLUMNS="400")
    assert (result.returncode, result.stderr) == (0, "")
    grid, _, legend = result.stdout.partition("\n\n")
    header, *lines = [line.split() for line in grid.splitlines()]
    assert header == ["handler", "server", *strategies]
    drawn = {
        (handler, server, strategy): mark
        for handler, server, *marks in lines
        for strategy, mark in zip(strategies, marks, strict=True)
    }
    assert drawn == {
        (row["handler"], row["server"], row["concurrency"]): "-"
        if row["verdict"] == "refused"
        else "!"
        if row["reason"]
        else "~"
        if row["bridge"]
        else "+"
        for row in rows
    }
    assert set(drawn.values()) == {"+", "~", "!", "-"}
    assert legend.startswith("+ legal, ~ legal by a bridge, ! legal with a warning, - refused\n")
    legal = sum(row["verdict"] == "legal" for row in rows)
    assert f"{legal} of {len(rows)} combinations are legal; reasons: plugport matrix --long\n" in legend


@pytest.mark.parametrize("columns", [80, 70])
def test_a_grid_that_is_too_wide_has_numbers_for_strategies(
    run: Run, columns: int, site: SitePackages
) -> None:
    names = [f"strategy-{number}" for number in range(12)]
    source = "".join(f"    yield plugport.Component({name!r}, 'mixins:MixIn')\n" for name in names)
    files = {"mixins.py": "import plugport\nclass MixIn: traits = plugport.StrategyTraits()\n"}
    site.add("mine", "@plugport.hookimpl\ndef plugport_register_concurrency():\n" + source, files=files)
    text = run("matrix", COLUMNS=str(columns)).stdout
    assert max(map(len, text.splitlines())) <= columns
    header = text.partition("\n")[0].split()
    assert header == ["handler", "server", *map(str, range(1, len(header) - 1))]
    for number, name in re.findall(r"(\d+) (strategy-\d+)", text):
        assert header[int(number) + 1] == number
        names.remove(name)
    assert not names


def test_the_long_matrix_has_reasons(run: Run) -> None:
    rows = json.loads(run("matrix", "--json").stdout)
    header, *lines = run("matrix", "--long").stdout.splitlines()
    assert header.split() == ["handler", "server", "concurrency", "verdict", "bridge", "reason"]
    assert len(lines) == len(rows)
    for line, row in zip(lines, rows, strict=True):
        cells = (row["handler"], row["server"], row["concurrency"], row["verdict"], row["bridge"] or "")
        assert line.split()[: len("".join(cells).split())]
        assert line.endswith(row["reason"] or row["bridge"] or "legal")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("prefix=>", None),
        ("prefx=>", "no option 'prefx'; did you mean 'prefix'?"),
        ("max_threads=0", "no option 'max_threads'"),
        ("request_queue_size=many", "expected int >= 0, got 'many'"),
        ("nobody.x=1", "no plugin 'nobody' has options"),
    ],
)
@pytest.mark.usefixtures("my_dist")
def test_check_looks_at_options_too(run: Run, option: str, message: str | None) -> None:
    result = run("check", "upper", "tcp", "threading", "-o", option)
    if message is None:
        assert (result.returncode, result.stdout, result.stderr) == (0, "legal\n", "")
    else:
        assert (result.returncode, result.stdout) == (2, "")
        assert message in only(result.stderr)
