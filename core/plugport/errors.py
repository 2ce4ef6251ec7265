"""The tree of plugport's exceptions; nothing else lives here.

    PlugportError
    ├── RegistryError
    │   ├── UnknownNameError        no component, plugin or hook of that name
    │   ├── AmbiguousNameError      one bare name, several components
    │   ├── PluginError             a plugin failed to import or to validate
    │   └── UnavailableError        the platform or a missing requirement forbids it
    ├── TargetError                 an import string or file without such an object
    ├── AddressError                a URL that its server can't listen on
    ├── ListenError                 the system refuses the address: in use, not permitted
    ├── OptionError                 an option unknown, ambiguous or of the wrong type
    ├── IncompatibleError           a combination that is refused
    ├── DatagramTooLongError        a datagram that does not fit max_packet_size (also an OSError)
    ├── PreludeError                a connection with the wrong first bytes
    ├── StartupError                a handler could not start what it needs
    ├── ScaffoldError               a project that can't be made
    └── ChildError                  an exception of a handler in a forked child

Every message is one line that says what was asked, why it can't be, and what to do.
The command line prints it and exits with status 2.
"""

from __future__ import annotations

import errno

TYPE_CHECKING = False
if TYPE_CHECKING:
    from plugport.contracts.interfaces import ClientAddress

__all__ = [
    "AddressError",
    "AmbiguousNameError",
    "ChildError",
    "DatagramTooLongError",
    "IncompatibleError",
    "ListenError",
    "OptionError",
    "PluginError",
    "PlugportError",
    "PreludeError",
    "RegistryError",
    "ScaffoldError",
    "StartupError",
    "TargetError",
    "UnavailableError",
    "UnknownNameError",
]


class PlugportError(Exception):
    """The root of all exceptions that plugport raises itself."""


class RegistryError(PlugportError):
    """A component or plugin that can't be used under the given name."""


class UnknownNameError(RegistryError):
    """Nothing is registered under the name."""


class AmbiguousNameError(RegistryError):
    """The bare name belongs to components of several distributions."""


class PluginError(RegistryError):
    """A plugin failed to import or to validate."""


class UnavailableError(RegistryError):
    """The component is known, but this platform or environment lacks what it needs."""


class TargetError(PlugportError):
    """An import string or a file does not lead to a usable object."""


class AddressError(PlugportError):
    """A URL that its server can't listen on."""


class ListenError(PlugportError):
    """The operating system refuses the address: in use, not permitted, or not there."""


class OptionError(PlugportError):
    """An option that is unknown, ambiguous, or has a value of the wrong type."""


class IncompatibleError(PlugportError):
    """A combination of server, strategy and handler that can't work."""


class DatagramTooLongError(PlugportError, OSError):
    """A datagram was longer than the server's max_packet_size (errno EMSGSIZE)."""

    def __init__(self, message: str, client_address: ClientAddress = None) -> None:
        super().__init__(errno.EMSGSIZE, message)
        self.client_address = client_address


class PreludeError(PlugportError):
    """A connection whose first bytes are not as a prelude requires; it is rejected."""


class StartupError(PlugportError):
    """A handler could not start what it needs before it can serve."""


class ScaffoldError(PlugportError):
    """A new project that can't be made: its name or its directory is taken or not usable."""


class ChildError(PlugportError):
    """An exception of a handler in a forked child: the parent gets its type's name and its message."""
