"""``plugport ask``: sends a message to a service and prints the reply."""

import socket

import click
from plugport.cli import Session, complete_component
from plugport.errors import PlugportError
from plugport.handlers import MessageHandler, framing_factory
from plugport.serving import parse_url


@click.command()
@click.argument("url")
@click.argument("message")
@click.option(
    "--framing",
    default="lines",
    show_default=True,
    metavar="NAME",
    shell_complete=complete_component("framing"),
    help="Framing of the message and of the reply.",
)
@click.option(
    "--timeout",
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    type=click.FloatRange(min=0, min_open=True),
    help="Seconds that the connection and the reply may take, each.",
)
@click.pass_obj
def ask(session: Session, url: str, message: str, framing: str, timeout: float) -> None:
    """Send a message to a service, print its reply.

    URL is where the service listens: tcp://127.0.0.1:9000, unix:///run/x.sock.
    """
    parsed = parse_url(url)
    server = session.registry.get("server", parsed.scheme)
    address, options = server.resolve_url(parsed)
    packets = framing_factory(session.registry.get("framing", framing), MessageHandler)()
    with socket.socket(options.get("address_family", server.address_family), server.socket_type) as client:
        client.settimeout(timeout)
        client.connect(address)
        client.sendall(packets.frame(message.encode()))
        replies: list[bytes] = []
        while not replies:
            data = client.recv(65536)
            replies = packets.feed(data) if data else packets.finish()
            if not data and not replies:
                raise PlugportError(
                    f"{url} closed the connection without a reply; is --framing {framing} right?"
                )
        click.echo(replies[0].decode(errors="backslashreplace"))
