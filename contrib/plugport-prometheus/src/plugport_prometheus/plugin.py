"""The plugin: what this package puts into services. It imports none of it before there is one."""

from plugport import hookimpl


@hookimpl
def plugport_service_plugin() -> type:
    """Count what a service does, and tell it on an endpoint."""
    from plugport_prometheus.prometheus import Prometheus

    return Prometheus
