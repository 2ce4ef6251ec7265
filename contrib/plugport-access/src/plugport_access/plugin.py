"""The plugin: what this package puts into services. It imports none of it before there is one."""

from plugport import hookimpl


@hookimpl
def plugport_service_plugin() -> type:
    """Turn away who may not come, or comes too often."""
    from plugport_access.access import Access

    return Access
