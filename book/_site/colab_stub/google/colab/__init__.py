"""A stand-in for the package of Colab; ``colab.py`` copies it into the environment that imitates Colab."""

from . import output

__all__ = ["output"]
