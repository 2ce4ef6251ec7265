"""The cases that every strategy, every server and every handler must hold.

The author of one runs them by a class in a test module of pytest's::

    from plugport_testing.conformance import HandlerConformance, ServerConformance, StrategyConformance

    class TestPooled(StrategyConformance):
        strategy = "pooled"

    class TestFair(ServerConformance):
        server = "fair"

    class TestUpper(HandlerConformance):
        handler = "upper"
        exchange = (b"hello", b"HELLO")

A strategy that is to be tried on one server alone, or a server under one strategy, has
:class:`StreamConformance` and :class:`DatagramConformance`, of which StrategyConformance consists.
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
