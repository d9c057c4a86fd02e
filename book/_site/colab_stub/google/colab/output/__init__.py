"""The part of Colab that shows outputs."""

from . import _widgets
from ._widgets import enable_custom_widget_manager

__all__ = ["_widgets", "enable_custom_widget_manager"]
