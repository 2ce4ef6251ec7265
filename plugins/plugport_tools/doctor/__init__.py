"""What ``plugport doctor`` looks for: checks of this machine, this Python and what is installed.

findings      what a check finds
deployment    what it looks at: the components that are installed, the URLs to be served
installed needs machine network     the checks
diagnosis     all of them, those of plugins too
"""
