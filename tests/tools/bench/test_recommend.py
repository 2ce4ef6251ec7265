from __future__ import annotations

from typing import Any

from plugport_tools.bench.recommend import Figures, recommend


def figures(strategy: str, cpu: float | None = 50e-6, **others: Any) -> Figures:
    return Figures(
        strategy, **{"requests_per_second": 1000.0, "cpu_per_request": cpu, "p99": 0.001, **others}
    )


def test_the_least_processor_time_wins() -> None:
    found = recommend([figures("dear", 60e-6), figures("cheap", 40e-6, caveats=("only one thread",))])
    assert found.strategy == "cheap"
    assert found.reason == "the least CPU time for a request, 40 us; dear takes 50% more"
    assert found.caveats == ("only one thread",)


def test_more_requests_in_a_second_do_not_count_where_processor_time_is_known() -> None:
    fast = figures("fast", 60e-6, requests_per_second=9000.0)
    assert recommend([fast, figures("cheap", 40e-6)]).strategy == "cheap"


def test_errors_disqualify() -> None:
    found = recommend([figures("cheap", 40e-6, errors=3), figures("dear", 60e-6)])
    assert found.strategy == "dear"
    assert found.reason == (
        "the least CPU time for a request, 60 us, of those that qualify the only one; "
        "cheaper, but: cheap had 3 errors"
    )
    assert (
        "cheap had 1 error,"
        in recommend(
            [figures("cheap", 40e-6, errors=1), figures("other", 50e-6, errors=2), figures("dear", 60e-6)]
        ).reason
    )


def test_a_p99_that_is_far_worse_disqualifies_and_one_that_is_worse_does_not() -> None:
    best = figures("dear", 60e-6, p99=0.001)
    assert recommend([figures("cheap", 40e-6, p99=0.0029), best]).strategy == "cheap"
    found = recommend([figures("cheap", 40e-6, p99=0.0031), best])
    assert found.strategy == "dear"
    assert "cheaper, but: cheap has a p99 of 3.1 ms" in found.reason


def test_the_p99_of_what_is_disqualified_already_sets_no_standard() -> None:
    wrong = figures("wrong", 20e-6, p99=0.00001, errors=1)
    assert recommend([wrong, figures("right", p99=0.001)]).strategy == "right"


def test_who_serves_fewer_at_once_is_disqualified() -> None:
    found = recommend([figures("serial", 20e-6, p99=0.00001, all_at_once=False), figures("other")])
    assert found.strategy == "other"
    assert "serial does not serve all connections at once" in found.reason


def test_what_is_disqualified_and_dearer_is_not_worth_a_word() -> None:
    found = recommend([figures("cheap", 40e-6), figures("dear", 60e-6, errors=1)])
    assert found.reason == "the least CPU time for a request, 40 us, of those that qualify the only one"


def test_without_processor_times_the_most_requests_win() -> None:
    fast = figures("fast", None, requests_per_second=2000.0)
    slow = figures("slow", None, requests_per_second=1500.0)
    wrong = figures("wrong", None, requests_per_second=9000.0, errors=7)
    found = recommend([slow, wrong, fast])
    assert found.strategy == "fast"
    assert found.reason == (
        "the most requests in a second, 2,000; slow has 25% fewer; faster, but: wrong had 7 errors"
    )


def test_equals_are_called_so() -> None:
    found = recommend([figures("one", 40e-6), figures("two", 40.1e-6)])
    assert found.reason.endswith("two takes hardly more")


def test_none_can_be_recommended() -> None:
    found = recommend([figures("one", errors=2), figures("two", all_at_once=False)])
    assert found.strategy is None
    assert found.reason == "one had 2 errors; two does not serve all connections at once"
    assert recommend([]).strategy is None
    assert recommend([]).reason == "no strategy could be measured"
