"""A concurrency strategy for plugport: a greenlet for each request, on gevent's hub."""
