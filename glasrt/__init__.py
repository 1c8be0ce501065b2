"""The host side: what runs on a mirror around the compiled app."""

__version__ = "0.1.0"
