"""A stand-in for the package of Colab, as far as notebooks and anywidget ask for it.

``colab.py`` copies it into the environment that imitates Colab, and nowhere else.
"""

from . import output

__all__ = ["output"]
