"""The checks of plugport_tools, in their order, and running them so that one that fails stops no other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from plugport.contracts import Finding
from plugport_tools.doctor.deployment import Deployment
from plugport_tools.doctor.diagnosis import examine
from plugport_tools.doctor.installed import components, plugins
from plugport_tools.doctor.machine import descriptors, extensions, fork, poller, python, temporary_folder
from plugport_tools.doctor.needs import requirements
from plugport_tools.doctor.network import addresses, backlog, ipv6, reuse_port

__all__ = ["CHECKS", "Check", "run_checks"]

#: A function of a deployment. Its name is that of the check.
Check = Callable[[Deployment], Iterable[Finding]]

#: "extensions" and "fork" report the effects of imports: they come after "components", which imports.
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


def run_checks(deployment: Deployment, checks: Sequence[Check] = CHECKS) -> Iterator[Finding]:
    """Yield what the *checks* find, under their names."""
    for check in checks:
        yield from examine(check.__name__, partial(check, deployment), "report it as a defect of plugport")
