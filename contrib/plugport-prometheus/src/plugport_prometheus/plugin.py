"""The plugin: provides the class Prometheus for services, and imports it when there is one."""

from plugport import hookimpl


@hookimpl
def plugport_service_plugin() -> type:
    """Return the service plugin that counts requests and serves the metrics."""
    from plugport_prometheus.prometheus import Prometheus

    return Prometheus
