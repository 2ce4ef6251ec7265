"""The tools that are shipped with plugport as a plugin: the commands bench, doctor and new."""
