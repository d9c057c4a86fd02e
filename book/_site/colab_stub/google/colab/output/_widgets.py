"""Whether the page shows widgets other than those of ipywidgets."""

# anywidget looks this up, by this name, and writes it beside each of its widgets.
_installed_url: str | None = None


def enable_custom_widget_manager() -> None:
    """Remember that somebody has asked for it; the real one tells the page from where to load it."""
    global _installed_url
    _installed_url = "https://ssl.gstatic.com/colaboratory-static/widgets/colab-cdn-widget-manager/stub"
