"""Access control for plugport's services: by address, by connections at once, and by rate."""
