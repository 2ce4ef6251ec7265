"""The checks of ``plugport doctor``: of this machine, this Python and what is installed.

``deployment``  the components that are installed, and the URLs to be served
``installed``, ``needs``, ``machine``, ``network``  the checks
``checks``      their order
``diagnosis``   the findings of all plugins
"""
