"""The one error of the benchmarks."""


class BenchmarkError(Exception):
    """Something that can't be measured; the message says what, and what to do."""
