"""Measurements: the service of each strategy under the same load, in interleaved rounds."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from plugport.errors import AddressError, PlugportError
from plugport_tools.bench.exchange import Exchange
from plugport_tools.bench.load import Job
from plugport_tools.bench.loaders import load_processes, processors
from plugport_tools.bench.plan import Candidate, Plan
from plugport_tools.bench.probe import ProbeError, probe
from plugport_tools.bench.results import Measurement, Round
from plugport_tools.bench.service import ServiceError, ServiceProcess, run_service
from plugport_tools.bench.settings import Settings
from plugport_tools.bench.tally import Tally, Window, quantile
from plugport_tools.bench.usage import Usage, cpu_usage, memory_of

__all__ = ["measure", "probe_service"]

#: Seconds of load before the window, and seconds more for each connection.
_WARM_UP, _WARM_UP_EACH = 0.2, 0.001
#: Seconds after the end of a connection in which a service that has crashed ends.
_EXIT_DELAY = 0.2


def probe_service(plan: Plan, payload: bytes, settings: Settings) -> Exchange:
    """Serve under the first strategy that starts, and probe how *payload* is answered.

    Raises ServiceError if none starts, ProbeError if the end of the answer can't be determined.
    """
    failures = []
    for candidate in plan.legal:
        with tempfile.TemporaryDirectory() as folder:
            try:
                with _run_candidate(plan, candidate, settings, folder) as service:
                    return _probe(service, candidate, payload, settings, folder)
            except ProbeError as error:
                raise ProbeError(f"{plan.handler}: {error}") from error
            except (AddressError, ServiceError) as error:
                failures.append(str(error))
    raise ServiceError(f"{plan.handler}: {'; '.join(dict.fromkeys(failures))}")


def _probe(
    service: ServiceProcess, candidate: Candidate, payload: bytes, settings: Settings, folder: str
) -> Exchange:
    address = candidate.address_of(service.wait_until_listening())
    try:
        exchange = probe(address, payload, folder, timeout=settings.timeout, keep_alive=settings.keep_alive)
    except ProbeError as error:
        service.check(_EXIT_DELAY)  # if the service has ended, that is the cause
        raise ProbeError(f"{error}{service.last_output()}") from error
    service.check(_EXIT_DELAY)
    return exchange


def measure(
    plan: Plan, exchange: Exchange, settings: Settings, progress: Callable[[str], None] = lambda step: None
) -> list[Measurement]:
    """Measure each legal candidate in each round; *progress* is called with the name of the next step.

    A candidate that fails is skipped in the following rounds; its ``failure`` has the reason.
    """
    found = [
        Measurement(candidate, _connections(plan, candidate, exchange, settings)) for candidate in plan.legal
    ]
    for number in range(settings.rounds):
        for measurement in found:
            progress(f"{measurement.candidate.strategy}, round {number + 1} of {settings.rounds}")
            if not measurement.failure:
                try:
                    measurement.rounds.append(_round(plan, measurement, exchange, settings))
                except PlugportError as error:
                    measurement.failure = str(error)
    return found


def _connections(plan: Plan, candidate: Candidate, exchange: Exchange, settings: Settings) -> int:
    """Return the number of connections: a serial strategy serves one kept connection at a time."""
    alone = candidate.serial and plan.is_stream and exchange.keep_alive
    return 1 if alone else settings.connections


def _run_candidate(
    plan: Plan, candidate: Candidate, settings: Settings, folder: str
) -> AbstractContextManager[ServiceProcess]:
    options = [f"--option={text}" for text in candidate.options]
    arguments = [f"--concurrency={candidate.strategy}", *options, "--", plan.handler, plan.url]
    return run_service(settings.global_options, arguments, folder)


def _round(plan: Plan, measurement: Measurement, exchange: Exchange, settings: Settings) -> Round:
    """Serve, load and measure once. Raises PlugportError if no request was answered."""
    connections = measurement.connections
    processes = max(1, min(processors() - 1, connections))
    shares = [connections // processes + (number < connections % processes) for number in range(processes)]
    with (
        tempfile.TemporaryDirectory() as folder,
        _run_candidate(plan, measurement.candidate, settings, folder) as service,
        load_processes(processes) as load,
    ):
        address = measurement.candidate.address_of(service.wait_until_listening())
        load.prepare([Job(address, exchange, share, settings.timeout, folder) for share in shares])
        begin = time.monotonic() + _WARM_UP + connections * _WARM_UP_EACH
        window = Window(begin, begin + settings.seconds / settings.rounds)
        load.start(window)
        before = _usage_at(window.begin, service.pid)
        after = _usage_at(window.end, service.pid)
        memory = memory_of(service.pid)  # while the connections are still open
        tally = load.finish()
        service.check()
        if not tally.latencies:
            raise ServiceError(_no_answers(tally, window) + service.last_output())
        return Round(
            requests=tally.requests,
            requests_per_second=tally.requests / (window.end - window.begin),
            p50=quantile(tally.latencies, 0.5),
            p99=quantile(tally.latencies, 0.99),
            processors=_processors(before, after),
            memory=memory,
            errors=tally.errors,
            served=tally.served,
            log=service.last_output() if tally.errors else "",
        )


def _usage_at(moment: float, pid: int) -> Usage | None:
    time.sleep(max(0.0, moment - time.monotonic()))
    return cpu_usage(pid)


def _processors(before: Usage | None, after: Usage | None) -> float | None:
    """Return the number of processors that were busy between the two; None if unknown."""
    if before is None or after is None:
        return None
    return (after.cpu - before.cpu) / (after.time - before.time)


def _no_answers(tally: Tally, window: Window) -> str:
    wrong = "".join(f"; {count} x {what}" for what, count in tally.errors.most_common(3))
    return f"no request was answered in {window.end - window.begin:.3g} s (more with --seconds){wrong}"
