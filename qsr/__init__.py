"""qsr: makes super-resolution networks survive 8-bit quantization."""

__version__ = "0.1.0"
