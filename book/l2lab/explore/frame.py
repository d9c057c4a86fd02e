"""What the widgets of this package share: their source, the check of their words, their output."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any, Protocol

__all__ = ["bundle", "check_words", "source"]

_HERE = Path(__file__).parent
_NAME = re.compile(r"[a-z][a-z0-9-]*")
_MIN_ALT = 20


class Pictured(Protocol):
    """A widget with a name, words and a picture for hosts without widgets."""

    name: str
    alt: str

    def fallback_png(self) -> bytes:
        """Return the picture, a PNG."""


def source(*files: str) -> str:
    """Join front-end files without indentation, blank lines and whole-line comments.

    The source goes into every page with a widget, so bytes count. No string in these files spans lines.
    """
    text = "\n".join((_HERE / name).read_text(encoding="utf-8") for name in files)
    lines = (line.strip() for line in text.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("//"))


def check_words(name: str, alt: str) -> None:
    """Refuse a name that no address can hold, and an alternative text that says nothing."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"name must be a lower-case letter, then letters, digits, '-'; got {name!r}.")
    if len(alt.strip()) < _MIN_ALT:
        raise ValueError(f"alt must say in at least {_MIN_ALT} characters what is shown; got {alt!r}.")


def bundle(own: Any, widget: Pictured, role: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Add text, words and picture to what anywidget gives a notebook."""
    # anywidget's own metadata carries what Colab needs to find its widget manager
    data, meta = map(dict, own) if isinstance(own, tuple) else (dict(own or {}), {})
    data["text/plain"] = repr(widget)
    meta["l2lab"] = {"alt": widget.alt, "role": role, "name": widget.name}
    data["image/png"] = base64.b64encode(widget.fallback_png()).decode("ascii")
    meta["image/png"] = {"alt": widget.alt}
    return data, meta
