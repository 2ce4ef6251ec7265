"""The plugin: provides the class Access for services, and imports it when there is one."""

from plugport import hookimpl


@hookimpl
def plugport_service_plugin() -> type:
    """Return the service plugin that rejects requests by address, number and rate."""
    from plugport_access.access import Access

    return Access
