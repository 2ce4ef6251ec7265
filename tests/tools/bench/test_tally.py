from __future__ import annotations

import math
import pickle
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugport_tools.bench.tally import Tally, Window, quantile


def tally_of(latencies: list[float]) -> Tally:
    tally = Tally(Window(0, math.inf))
    for latency in latencies:
        tally.record(1000.0, 1000.0 + latency)
    return tally


@given(st.lists(st.floats(1e-5, 100), min_size=2, max_size=300), st.sampled_from([0.5, 0.9, 0.99]))
def test_a_quantile_is_one_of_the_latencies_to_one_percent(latencies: list[float], share: float) -> None:
    exact = sorted(latencies)[max(0, math.ceil(share * len(latencies)) - 1)]
    assert quantile(tally_of(latencies).latencies, share) == pytest.approx(exact, rel=0.01)


def test_quantiles_of_many() -> None:
    latencies = [0.001 * number for number in range(1, 1001)]
    found = tally_of(latencies).latencies
    assert quantile(found, 0.5) == pytest.approx(statistics.median(latencies), rel=0.01)
    assert quantile(found, 0.99) == pytest.approx(0.99, rel=0.01)
    with pytest.raises(ValueError, match="no latencies"):
        quantile({}, 0.5)


def test_an_answer_without_delay_is_counted() -> None:
    assert tally_of([0.0]).requests == 1


def test_what_comes_outside_the_window_does_not_count() -> None:
    tally = Tally(Window(10, 11))
    for now in (9.999, 10.0, 10.5, 10.999, 11.0):
        tally.record(9.0, now)
    assert tally.requests == 3


def test_the_tallies_of_several_processes_add_up() -> None:
    one, two = tally_of([0.001] * 3), tally_of([0.001, 0.1])
    one.errors["reset"] += 1
    two.errors.update(["reset", "refused"])
    one.served, two.served = 2, 1
    total = Tally.total(pickle.loads(pickle.dumps(each)) for each in (one, two))
    assert total.requests == 5
    assert total.errors == {"reset": 2, "refused": 1}
    assert total.served == 3
    assert quantile(total.latencies, 0.99) == pytest.approx(0.1, rel=0.01)
