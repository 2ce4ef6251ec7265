"""The diagnosis: all checks run, those of plugport first and then those of plugins."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from plugport.contracts import STATUSES, Finding, describe_error, one_of
from plugport.errors import PluginError
from plugport_tools.doctor.deployment import Deployment
from plugport_tools.doctor.installed import components, plugins
from plugport_tools.doctor.machine import descriptors, extensions, fork, poller, python, temporary_folder
from plugport_tools.doctor.needs import requirements
from plugport_tools.doctor.network import addresses, backlog, ipv6, reuse_port

__all__ = ["CHECKS", "Check", "diagnose"]

#: A function of what is to be looked at. Its name is what its findings go by.
Check = Callable[[Deployment], Iterable[Finding]]

#: Those that see what imports have done, extensions and fork, come after the one that imports.
CHECKS: tuple[Check, ...] = (
    python,
    plugins,
    components,
    requirements,
    extensions,
    fork,
    poller,
    descriptors,
    temporary_folder,
    backlog,
    reuse_port,
    ipv6,
    addresses,
)


def diagnose(deployment: Deployment, checks: Sequence[Check] = CHECKS) -> Iterator[Finding]:
    """Yield what the *checks* find, and then what the hook ``doctor`` of each plugin does.

    A check that raises is a problem of its own; what it has found before counts.
    """
    for check in checks:
        yield from _findings(check.__name__, partial(check, deployment), "report it as a defect of plugport")
    for plugin, examine in deployment.registry.plugins.examinations(deployment.urls):
        yield from _findings(plugin, examine, f"report it as a defect of {plugin.partition(':')[0]}")


def _findings(name: str, examine: Callable[[], Any], remedy: str) -> Iterator[Finding]:
    try:
        returned = examine()
        if not isinstance(returned, Iterable):
            raise PluginError(f"it returned {returned!r}, which is no iterable of Finding")
        for finding in returned:
            if not isinstance(finding, Finding) or finding.status not in STATUSES:
                raise PluginError(f"{finding!r} is no Finding with a status of {one_of(STATUSES)}")
            yield finding._replace(check=name, message=_line(finding.message), remedy=_line(finding.remedy))
    except (Exception, SystemExit) as error:
        reason = str(error) if isinstance(error, PluginError) else describe_error(error)
        yield Finding("problem", f"the check failed: {reason}", remedy, name)


def _line(text: str) -> str:
    return " ".join(text.split())
