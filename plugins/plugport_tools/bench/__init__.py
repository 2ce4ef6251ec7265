"""What ``plugport bench`` does: a handler is served under each strategy, loaded, and measured."""
