"""Token buckets: what passes is what was promised, and the table stays within its bounds."""

import random

import pytest

from plugport_access.rates import Rates


def peer(number: int) -> bytes:
    return number.to_bytes(4, "big")


def test_a_burst_at_once_and_then_the_rate() -> None:
    rates = Rates(2.0, 3, 16)
    assert [rates.take(peer(1), 100.0) for _ in range(5)] == [True, True, True, False, False]
    assert rates.take(peer(2), 100.0), "another peer has a bucket of its own"
    assert not rates.take(peer(1), 100.4)
    assert rates.take(peer(1), 100.5)
    assert not rates.take(peer(1), 100.5)
    assert [rates.take(peer(1), 110.0) for _ in range(4)] == [True, True, True, False], "no more than full"


@pytest.mark.parametrize(("rate", "burst"), [(0.1, 1), (1.0, 1), (3.0, 10), (1000.0, 5)])
def test_in_no_span_of_time_pass_more_than_burst_and_rate_allow(rate: float, burst: int) -> None:
    dice = random.Random(1)
    rates, now, passed = Rates(rate, burst, 16), 0.0, []
    for _ in range(3000):
        now += dice.expovariate(3 * rate)
        if rates.take(peer(1), now):
            passed.append(now)
    # Without a burst to save up for, who comes at random misses some of his chances.
    assert len(passed) > (0.7 if burst == 1 else 0.9) * rate * now, "who keeps coming gets his rate"
    for first in range(0, len(passed), 7):
        for last in range(first, min(first + 200, len(passed))):
            span = passed[last] - passed[first]
            assert last - first + 1 <= burst + rate * span + 1e-6


def test_the_table_is_bounded() -> None:
    rates = Rates(1.0, 5, 100)
    for number in range(10_000):
        assert rates.take(peer(number), 1.0)
        assert len(rates) <= 100


def test_nobody_gets_a_new_bucket_by_others_that_are_fuller() -> None:
    rates = Rates(1.0, 5, 100)
    while rates.take(peer(0), 1.0):
        pass
    for number in range(1, 10_000):  # each from an address of its own, once
        rates.take(peer(number), 1.0)
    assert not rates.take(peer(0), 1.0), "it was forgotten, and is full again"


def test_buckets_that_are_full_again_make_room() -> None:
    rates = Rates(1.0, 1, 100)
    for number in range(100):
        rates.take(peer(number), float(number))
    rates.take(peer(500), 100.0)
    assert len(rates) == 1
