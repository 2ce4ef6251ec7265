"""Reports of a benchmark: lines and cells for people, an object for programs."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from plugport_tools.bench.exchange import Exchange
from plugport_tools.bench.loaders import processors
from plugport_tools.bench.plan import Plan
from plugport_tools.bench.recommend import Recommendation, recommend
from plugport_tools.bench.results import Measurement
from plugport_tools.bench.settings import Settings

__all__ = ["HEADER", "Report"]

HEADER = ("strategy", "requests/s", "CPU us/request", "p50 ms", "p99 ms", "memory MiB", "errors", "remarks")

#: A service that uses at least this share of a processor is at its limit.
_SATURATED = 0.9
_UNKNOWN = "-"
#: Number of kinds of errors that a remark names.
_NAMED_ERRORS = 3


@dataclass(frozen=True, slots=True)
class Report:
    """A plan, its settings, and the measurements of its legal candidates."""

    plan: Plan
    settings: Settings
    exchange: Exchange
    measurements: Sequence[Measurement]

    @property
    def measured(self) -> list[Measurement]:
        """The measurements without a failure."""
        return [each for each in self.measurements if not each.failure]

    @property
    def recommendation(self) -> Recommendation:
        """The recommendation."""
        return recommend([each.figures(self.settings.connections) for each in self.measured])

    # For people -----------------------------------------------------------------------------------

    def heading(self) -> list[str]:
        """Return the lines that describe the benchmark."""
        settings = self.settings
        return [
            f"{self.plan.handler} on {self.plan.url}: {self._described_exchange()}",
            f"{settings.connections} {'connections' if self.plan.is_stream else 'clients'} at once, "
            f"{settings.rounds} rounds of {settings.seconds / settings.rounds:.3g} s; "
            f"Python {platform.python_version()}, {processors()} processors",
        ]

    def _described_exchange(self) -> str:
        exchange = self.exchange
        sent = f"{len(exchange.payload)} bytes" if exchange.payload else "nothing"
        if not self.plan.is_stream:
            count = exchange.answer or 1
            answered = "a datagram" if count == 1 else f"{count} datagrams"
            return f"{sent} in a datagram, answered by {answered} like {_show(exchange.sample)}"
        if exchange.answer is None:
            answered = f"all till the end, beginning with {_show(exchange.sample)}"
        else:
            answered = f"{exchange.answer} bytes, {_show(exchange.sample)}"
        if exchange.greeting:
            sent += f" after a greeting of {exchange.greeting}"
        over = "connections are kept" if exchange.keep_alive else "a connection for each request"
        return f"{sent} sent, answered by {answered}; {over}"

    def rows(self) -> list[tuple[str, ...]]:
        """Return a row for each measured strategy: cells for HEADER, numbers aligned to the right."""
        rows = [self._row(each) for each in self.measured]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return [
            (
                row[0],
                *(cell.rjust(width) for cell, width in zip(row[1:-1], widths[1:-1], strict=True)),
                row[-1],
            )
            for row in rows
        ]

    def _row(self, each: Measurement) -> tuple[str, ...]:
        return (
            each.candidate.strategy,
            f"{each.requests_per_second:,.0f}" + ("*" if _is_saturated(each) is False else " "),
            _number(each.cpu_per_request, 1e6),
            _number(each.p50, 1e3),
            _number(each.p99, 1e3),
            _UNKNOWN if each.memory is None else f"{each.memory / 2**20:.1f}",
            f"{each.errors.total():,}",
            "; ".join(self._remarks(each)),
        )

    def _remarks(self, each: Measurement) -> list[str]:
        remarks = [f"{count:,} x {what}" for what, count in each.errors.most_common(_NAMED_ERRORS)]
        remarks += dict.fromkeys(one.log.removeprefix("; ") for one in each.rounds if one.log)
        if each.served < each.connections:
            why = "it may serve no more at once" if self.plan.is_stream else "datagrams were lost"
            remarks.append(f"only {each.served} of {each.connections} clients were answered at all: {why}")
        if each.connections < self.settings.connections:
            remarks.append(
                f"with {each.connections} connection, for it serves one to its end before the next"
            )
        if each.candidate.unknown_options:
            remarks.append(f"has no option {', '.join(each.candidate.unknown_options)}")
        return remarks

    def footnotes(self) -> list[str]:
        """Return the lines that explain the marks of the table, and what is missing in it."""
        notes = []
        if any(_is_saturated(each) is False for each in self.measured):
            notes.append(
                f"* the service kept less than {_SATURATED:.0%} of a processor busy: the load, or something "
                "else, was the limit; compare the CPU time of a request"
            )
        if any(each.cpu_per_request is None for each in self.measured):
            notes.append(f"{_UNKNOWN} not reported by this system")
        notes += [
            f"{each.candidate.strategy} failed: {each.failure}" for each in self.measurements if each.failure
        ]
        refused = [candidate for candidate in self.plan.candidates if candidate.refusal]
        return notes + [f"{candidate.strategy} is refused: {candidate.refusal}" for candidate in refused]

    def advice(self) -> list[str]:
        """Return the lines of the recommendation."""
        recommendation = self.recommendation
        if recommendation.strategy is None:
            return [f"no recommendation: {recommendation.reason}"]
        return [
            f"recommended: {recommendation.strategy} ({recommendation.reason})",
            *(f"but: {caveat}" for caveat in recommendation.caveats),
        ]

    # For programs ---------------------------------------------------------------------------------

    def as_object(self) -> dict[str, Any]:
        """Return everything as an object for JSON; docs/how-to/bench.md documents the keys."""
        found = {each.candidate.strategy: each for each in self.measurements}
        recommendation = self.recommendation
        exchange = self.exchange
        return {
            "handler": self.plan.handler,
            "url": self.plan.url,
            "python": platform.python_version(),
            "processors": processors(),
            "connections": self.settings.connections,
            "seconds": self.settings.seconds,
            "rounds": self.settings.rounds,
            "timeout": self.settings.timeout,
            "exchange": {
                "payload_bytes": len(exchange.payload),
                "answer": exchange.answer,
                "answer_unit": "bytes" if self.plan.is_stream else "datagrams",
                "greeting_bytes": exchange.greeting,
                "keep_alive": exchange.keep_alive,
                "half_close": exchange.half_close,
            },
            "strategies": [
                {"strategy": candidate.strategy, "status": "refused", "reason": candidate.refusal}
                if candidate.refusal
                else _as_object(found[candidate.strategy])
                for candidate in self.plan.candidates
            ],
            "recommendation": {
                "strategy": recommendation.strategy,
                "reason": recommendation.reason,
                "caveats": list(recommendation.caveats),
            },
        }


def _as_object(each: Measurement) -> dict[str, Any]:
    if each.failure:
        return {"strategy": each.candidate.strategy, "status": "failed", "reason": each.failure}
    cpu = each.cpu_per_request
    return {
        "strategy": each.candidate.strategy,
        "status": "measured",
        "reason": None,
        "connections": each.connections,
        "served": each.served,
        "requests": sum(one.requests for one in each.rounds),
        "requests_per_second": each.requests_per_second,
        "cpu_us_per_request": None if cpu is None else 1e6 * cpu,
        "p50_us": 1e6 * each.p50,
        "p99_us": 1e6 * each.p99,
        "memory_bytes": each.memory,
        "processors_busy": each.processors,
        "saturated": _is_saturated(each),
        "errors": dict(each.errors),
        "caveats": list(each.candidate.caveats),
        "options_left_out": list(each.candidate.unknown_options),
    }


def _is_saturated(each: Measurement) -> bool | None:
    """Whether the service, not the load, was at its limit; None if unknown."""
    return None if each.processors is None else each.processors >= _SATURATED


def _number(value: float | None, scale: float) -> str:
    """Return *value* times *scale* with three significant digits, without exponent."""
    if value is None:
        return _UNKNOWN
    scaled = value * scale
    return f"{scaled:,.0f}" if scaled >= 100 else f"{scaled:#.3g}".rstrip(".")


def _show(sample: bytes) -> str:
    return repr(sample)[1:]
