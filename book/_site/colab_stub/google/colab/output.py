"""The part of Colab that shows outputs, as far as notebooks and anywidget ask for it."""

from types import SimpleNamespace

# anywidget looks this up, by this name, and writes it beside each of its widgets.
_widgets = SimpleNamespace(_installed_url=None)


def enable_custom_widget_manager() -> None:
    """Remember that somebody has asked for it; the real one tells the page from where to load it."""
    _widgets._installed_url = "https://ssl.gstatic.com/colaboratory-static/widgets/stub"
