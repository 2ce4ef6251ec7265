"""The report, of findings that are made up."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from plugport_tools.bench.exchange import Exchange
from plugport_tools.bench.plan import Candidate, Plan
from plugport_tools.bench.plot import PlotError, check_plot, draw_plot
from plugport_tools.bench.report import HEADER, Report
from plugport_tools.bench.results import Measurement, Round
from plugport_tools.bench.settings import Settings

EXCHANGE = Exchange(b"hello\n", 6, keep_alive=True, sample=b"hello\n")


def a_round(**others: Any) -> Round:
    figures = {
        "requests": 100,
        "requests_per_second": 1000.0,
        "p50": 0.001,
        "p99": 0.002,
        "processors": 0.95,
        "memory": 20 * 2**20,
        "errors": Counter[str](),
        "served": 16,
    }
    return Round(**{**figures, **others})


def a_measurement(strategy: str, *rounds: Round, connections: int = 16, **others: Any) -> Measurement:
    declared = {name: others.pop(name, ()) for name in ("caveats", "unknown_options")}
    candidate = Candidate(strategy, **declared)
    return Measurement(candidate, connections, list(rounds) or [a_round()], **others)


def a_report(*found: Measurement, exchange: Exchange = EXCHANGE, stream: bool = True) -> Report:
    refused = Candidate("refused-one", refusal="it can't")
    plan = Plan("echo", "tcp://:0", stream, (*(each.candidate for each in found), refused))
    return Report(plan, Settings(), exchange, found)


# Medians --------------------------------------------------------------------------------------


def test_figures_are_medians_of_rounds_and_errors_are_sums() -> None:
    rounds = [
        a_round(requests_per_second=1000.0, processors=0.5, p99=0.1, memory=10, errors=Counter(reset=1)),
        a_round(requests_per_second=500.0, processors=0.5, p99=0.3, memory=30, served=4),
        a_round(requests_per_second=100.0, processors=0.2, p99=0.2, memory=20, errors=Counter(reset=2)),
    ]
    found = a_measurement("one", *rounds)
    assert (found.requests_per_second, found.processors, found.p99) == (500.0, 0.5, 0.2)
    assert found.cpu_per_request == 0.001  # of 0.0005, 0.001 and 0.002
    assert (found.memory, found.served) == (20, 4)
    assert found.errors == {"reset": 3}


def test_what_the_system_does_not_tell_stays_unknown() -> None:
    report = a_report(a_measurement("one", a_round(processors=None, memory=None)))
    (row,) = report.rows()
    assert dict(zip(HEADER, row, strict=True)) == {
        "strategy": "one",
        "requests/s": "1,000 ",
        "CPU us/request": "-",
        "p50 ms": "1.00",
        "p99 ms": "2.00",
        "memory MiB": "-",
        "errors": "0",
        "remarks": "",
    }
    assert "- not reported by this system" in report.footnotes()
    (shown, _) = report.as_object()["strategies"]
    unknown = ("cpu_us_per_request", "memory_bytes", "processors_busy", "saturated")
    assert {key: shown[key] for key in unknown} == dict.fromkeys(unknown)
    assert report.advice()[0].startswith("recommended: one (the most requests in a second, 1,000")


# For people -----------------------------------------------------------------------------------


def test_numbers_are_set_right_and_have_three_digits() -> None:
    rows = a_report(
        a_measurement("one", a_round(requests_per_second=12345.6, processors=0.123456, p99=1.23456)),
        a_measurement("two", a_round(requests_per_second=9.9, processors=1.0, memory=200 * 2**20)),
    ).rows()
    assert [row[1:7] for row in rows] == [
        ("12,346*", "   10.0", "1.00", "1,235", " 20.0", "0"),
        ("    10 ", "101,010", "1.00", " 2.00", "200.0", "0"),
    ]


def test_only_what_was_not_saturated_is_marked_and_the_mark_is_explained() -> None:
    idle, busy = a_measurement("idle", a_round(processors=0.89)), a_measurement("busy", a_round())
    report = a_report(idle, busy)
    assert [row[1].endswith("*") for row in report.rows()] == [True, False]
    assert report.footnotes()[0].startswith("* the service kept less than 90% of a processor busy")
    assert not any(note.startswith("*") for note in a_report(busy).footnotes())


def test_remarks() -> None:
    wrong = a_round(errors=Counter(reset=3, refused=1), log="; its log ends: KeyError: 1")
    starved = a_round(served=4)
    rows = a_report(
        a_measurement("wrong", wrong, wrong, a_round()),
        a_measurement("starved", starved),
        a_measurement("serial", a_round(served=1), connections=1),
        a_measurement("lacking", unknown_options=("max_workers=2",)),
    ).rows()
    assert [row[-2:] for row in rows] == [
        ("8", "6 x reset; 2 x refused; its log ends: KeyError: 1"),
        ("0", "only 4 of 16 clients were answered at all: it may serve no more at once"),
        ("0", "with 1 connection, for it serves one to its end before the next"),
        ("0", "has no option max_workers=2"),
    ]
    (row,) = a_report(a_measurement("starved", starved), stream=False).rows()
    assert row[-1] == "only 4 of 16 clients were answered at all: datagrams were lost"


def test_what_was_not_measured_is_told_below() -> None:
    report = a_report(a_measurement("good"), a_measurement("bad", failure="it ended"))
    assert [row[0] for row in report.rows()] == ["good"]
    assert report.footnotes() == ["bad failed: it ended", "refused-one is refused: it can't"]


@pytest.mark.parametrize(
    ("exchange", "stream", "told"),
    [
        (EXCHANGE, True, r"6 bytes sent, answered by 6 bytes, 'hello\n'; connections are kept"),
        (
            Exchange(b"", None, sample=b"now"),
            True,
            "nothing sent, answered by all till the end, beginning wi",
        ),
        (
            Exchange(b"x", 1, 9, sample=b"y"),
            True,
            "1 bytes after a greeting of 9 sent, answered by 1 bytes, 'y'",
        ),
        (Exchange(b"x", 1, sample=b"y"), False, "1 bytes in a datagram, answered by a datagram like 'y'"),
        (Exchange(b"x", 2, sample=b"y"), False, "1 bytes in a datagram, answered by 2 datagrams like 'y'"),
    ],
)
def test_the_exchange_is_described(exchange: Exchange, stream: bool, told: str) -> None:
    assert a_report(exchange=exchange, stream=stream).heading()[0].startswith(f"echo on tcp://:0: {told}")


def test_advice() -> None:
    report = a_report(a_measurement("one", caveats=("this", "that")))
    assert report.advice() == [
        "recommended: one (the least CPU time for a request, 950 us, of those that qualify the only one)",
        "but: this",
        "but: that",
    ]
    serial = a_report(a_measurement("serial", a_round(served=1), connections=1))
    assert serial.advice() == ["no recommendation: serial does not serve all connections at once"]
    assert a_report().advice() == ["no recommendation: no strategy could be measured"]


# For programs ---------------------------------------------------------------------------------


def test_the_object_is_json_and_says_what_failed() -> None:
    failed = a_measurement("bad", failure="it ended")
    report = a_report(a_measurement("good", a_round(errors=Counter(reset=1))), failed)
    found = json.loads(json.dumps(report.as_object()))
    good, *others = found["strategies"]
    assert good["errors"] == {"reset": 1}
    assert good["cpu_us_per_request"] == 950.0
    assert others == [
        {"strategy": "bad", "status": "failed", "reason": "it ended"},
        {"strategy": "refused-one", "status": "refused", "reason": "it can't"},
    ]
    assert found["recommendation"] == {"strategy": None, "reason": "good had 1 error", "caveats": []}


# The plot -------------------------------------------------------------------------------------


@pytest.mark.parametrize("processors", [0.5, None])
def test_a_plot_has_what_was_measured(tmp_path: Path, processors: float | None) -> None:
    file = tmp_path / "plot.svg"
    check_plot(file)
    assert not file.exists()
    rounds = [a_round(processors=processors)]
    draw_plot(a_report(a_measurement("one", *rounds), a_measurement("bad", failure="it ended")), file)
    ElementTree.parse(file)
    drawn = file.read_text()  # matplotlib writes texts as comments beside their outlines
    assert "<!-- one -->" in drawn
    assert "<!-- bad -->" not in drawn
    assert "<!-- requests/s -->" in drawn
    assert ("<!-- CPU us/request -->" in drawn) == (processors is not None)
    draw_plot(a_report(a_measurement("one")), tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_places_where_no_plot_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "folder.svg").mkdir()
    for name, reason in (
        ("plot.jpeg", "must end in .svg or .png"),
        ("folder.svg", "it is a folder"),
        ("missing/plot.svg", "there is no folder"),
    ):
        with pytest.raises(PlotError, match=reason):
            check_plot(tmp_path / name)
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # to the superuser all is permitted
    with pytest.raises(PlotError, match="permission denied"):
        check_plot(tmp_path / "plot.svg")
