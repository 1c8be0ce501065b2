"""The compiler: a glas program and a configuration in, a bundle for each target processor out."""

__version__ = "0.1.0"
