"""What authors of handlers, strategies and servers test theirs with. Nothing else of plugport imports it."""

import sys

# pytest tells why an assert failed in the modules that it was told of before they are imported.
# Without pytest, which is no requirement of plugport's, they are plain asserts.
if "pytest" in sys.modules:
    sys.modules["pytest"].register_assert_rewrite(
        "plugport_testing.conformance", "plugport_testing.served", "plugport_testing.leaks"
    )
