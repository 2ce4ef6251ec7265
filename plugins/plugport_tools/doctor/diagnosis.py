"""The diagnosis: the findings of all plugins, each of which is asked by the hook ``doctor``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from plugport.contracts import STATUSES, Finding, describe_error, one_of
from plugport.errors import PluginError
from plugport_tools.doctor.deployment import Deployment

__all__ = ["diagnose", "examine"]


def diagnose(deployment: Deployment) -> Iterator[Finding]:
    """Yield the findings of each plugin that implements the hook ``doctor``, in the order of the plugins."""
    registry = deployment.registry
    for plugin, call in registry.plugins.examinations(deployment.urls, registry):
        yield from examine(plugin, call, f"report it as a defect of {plugin.partition(':')[0]}")


def examine(check: str, call: Callable[[], object], remedy: str) -> Iterator[Finding]:
    """Yield the findings that *call* returns, each on one line; *check* names those without a name.

    An exception is a problem of its own, with this *remedy*, after what was found before it.
    """
    try:
        returned = call()
        if not isinstance(returned, Iterable):
            raise PluginError(f"it returned {returned!r}, which is no iterable of Finding")
        for finding in returned:
            if not isinstance(finding, Finding) or finding.status not in STATUSES:
                raise PluginError(f"{finding!r} is no Finding with a status of {one_of(STATUSES)}")
            yield finding._replace(
                check=finding.check or check,
                message=_one_line(finding.message),
                remedy=_one_line(finding.remedy),
            )
    except (Exception, SystemExit) as error:
        reason = str(error) if isinstance(error, PluginError) else describe_error(error)
        yield Finding("problem", f"the check failed: {reason}", remedy, check)


def _one_line(text: str) -> str:
    return " ".join(text.split())
