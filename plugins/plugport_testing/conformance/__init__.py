"""Suites of test cases that every strategy, every server and every handler must pass.

An author runs one by a class in a test module for pytest::

    from plugport_testing.conformance import HandlerConformance, ServerConformance, StrategyConformance

    class TestPooled(StrategyConformance):
        strategy = "pooled"

    class TestFair(ServerConformance):
        server = "fair"

    class TestUpper(HandlerConformance):
        handler = "upper"
        exchange = (b"hello", b"HELLO")

StrategyConformance consists of :class:`StreamConformance` and :class:`DatagramConformance`. Each of these
tests a strategy on one server of the author's choice.
"""

from plugport_testing.conformance.base import Conformance
from plugport_testing.conformance.datagrams import DatagramConformance
from plugport_testing.conformance.handlers import HandlerConformance
from plugport_testing.conformance.servers import ServerConformance
from plugport_testing.conformance.strategies import StrategyConformance
from plugport_testing.conformance.streams import StreamConformance

__all__ = [
    "Conformance",
    "DatagramConformance",
    "HandlerConformance",
    "ServerConformance",
    "StrategyConformance",
    "StreamConformance",
]
