"""``plugport serve``: a handler on one or more URLs, until a signal ends it."""

from __future__ import annotations

import math

import click

from plugport.cli.completion import complete_component
from plugport.cli.session import Session, warn

__all__ = ["serve"]

DEFAULT_URL = "tcp://127.0.0.1:9000"


def _check_grace(context: click.Context, parameter: click.Parameter, value: float) -> float:
    if math.isnan(value):  # FloatRange lets it pass: it compares with no bound
        raise click.BadParameter(f"{value} is no number of seconds", context, parameter)
    return value


@click.command()
@click.argument("handler", shell_complete=complete_component("handler"))
@click.argument("urls", metavar="[URL]...", nargs=-1)
@click.option(
    "-c",
    "--concurrency",
    metavar="STRATEGY",
    default="threading",
    show_default=True,
    shell_complete=complete_component("concurrency"),
    help="Concurrency strategy.",
)
@click.option(
    "-o",
    "--option",
    "options",
    metavar="KEY=VALUE",
    multiple=True,
    help="Option of the server, strategy or handler ('plugport show NAME' lists them). "
    "If two of them have it: server.KEY, concurrency.KEY or handler.KEY. "
    "Option of a plugin: PLUGIN.KEY. May be repeated.",
)
@click.option(
    "--grace",
    metavar="SECONDS",
    type=click.FloatRange(min=0, max=1e9),
    default=30.0,
    callback=_check_grace,
    show_default=True,
    help="Seconds that active requests have to finish after a signal to stop (0: none).",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="Least severe level that is logged.",
)
@click.option("--access-log", is_flag=True, help="Log each request in one line.")
@click.pass_context
def serve(
    context: click.Context,
    handler: str,
    urls: tuple[str, ...],
    concurrency: str,
    options: tuple[str, ...],
    grace: float,
    log_level: str,
    access_log: bool,
) -> None:
    """Serve HANDLER on each URL until SIGINT or SIGTERM; a second signal aborts active requests.

    A URL is SERVER://ADDRESS: tcp://127.0.0.1:9000, tcp://[::]:9000, udp://:0,
    unix:///run/x.sock, unix://@abstract. The default is tcp://127.0.0.1:9000.
    HANDLER is a name (see plugport list handlers), package.module:attribute or
    path/to/file.py:attribute.
    """
    from plugport.cli.service import log_to_stderr, plan_service, run_service
    from plugport.combination.plugin_options import parse_plugin_options

    session = context.find_object(Session)
    assert session is not None
    options_left, members = parse_plugin_options(session.plugins, options)
    plan = plan_service(session.registry, handler, urls or (DEFAULT_URL,), concurrency, options_left)
    for warning in plan.warnings:
        warn(warning)
    log_to_stderr(log_level)
    if access_log:
        from plugport.cli.accesslog import add_access_log

        add_access_log(session.plugins)
    context.exit(run_service(plan, session.plugins.server_hooks(members), grace))
