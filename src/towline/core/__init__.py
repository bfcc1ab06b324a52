"""The decisions: pure functions and state machines; no socket, clock, random, log or file."""
