"""The servers, concurrency strategies and handlers that come with plugport, as a plugin like any other."""
