"""The cases that every strategy and every server must hold, whatever the style of the handler.

The author of a strategy runs them by a class in a test module of pytest's::

    from plugport.testing.conformance import DatagramConformance, StreamConformance

    class TestConnections(StreamConformance):
        strategy = "pooled"

    class TestDatagrams(DatagramConformance):
        strategy = "pooled"

and the author of a server with ``server = "sctp"`` and ``url = "sctp://127.0.0.1:0"`` besides, where
``{folder}`` in the URL stands for a new folder. See :class:`Conformance` for what else can be set.
"""

from plugport.testing.conformance.base import Conformance
from plugport.testing.conformance.datagrams import DatagramConformance
from plugport.testing.conformance.streams import StreamConformance

__all__ = ["Conformance", "DatagramConformance", "StreamConformance"]
