"""The strategy holds what every strategy must hold."""

from plugport_testing.conformance import StrategyConformance


class TestUvloop(StrategyConformance):
    strategy = "uvloop"
