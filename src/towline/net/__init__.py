"""The I/O: names, dialers, the racer and the relay."""
