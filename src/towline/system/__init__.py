"""What the host offers: descriptors, interfaces, service state."""
