"""The admin side: health, status and control over HTTP on loopback."""
