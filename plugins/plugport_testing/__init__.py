"""Test tools for authors of handlers, strategies and servers. No other package of plugport imports it."""

import sys

# pytest explains a failed assert only in modules that were registered with it before their import. Without
# pytest, which plugport does not require, the asserts stay plain.
if "pytest" in sys.modules:
    sys.modules["pytest"].register_assert_rewrite(
        "plugport_testing.conformance", "plugport_testing.served", "plugport_testing.leaks"
    )
