"""The built-in concurrency strategies: mix-ins put before a server class."""
