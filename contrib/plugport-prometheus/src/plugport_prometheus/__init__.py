"""Metrics of plugport's services for Prometheus: hookimpls that count, and an endpoint to scrape."""
