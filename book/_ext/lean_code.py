"""Mark up only what the colours of code can show.

Pygments wraps every token of a listing in an element of its own, also names, brackets and spaces, which both
styles of the book paint in the colour of plain text.  These were five of six elements of a chapter, all of
which a browser must lay out.  Here a token is marked only if one of the styles shows it, and neighbours that
look alike in both are marked together.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TextIO

from pygments.formatters import HtmlFormatter
from pygments.styles import get_style_by_name
from pygments.token import STANDARD_TYPES, Generic, Text, _TokenType
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.highlighting import PygmentsBridge


def simpler_tokens(styles: Iterable[str]) -> dict[_TokenType, _TokenType]:
    """Map each kind of token to the first one that looks the same in all these styles.

    Parameters
    ----------
    styles : iterable of str
        Names of Pygments styles.

    Returns
    -------
    dict
        Kind of token -> kind of token; what looks like plain text becomes ``Text``, which has no markup.
        Parts of a session in a terminal (``Generic``) stay, since scripts look for them.
    """
    styles = [get_style_by_name(name) for name in styles]
    plain = tuple(tuple(sorted(style.style_for_token(Text).items())) for style in styles)
    first = {repr(plain): Text}
    simpler = {}
    for kind in STANDARD_TYPES:
        if kind not in Generic:
            look = repr(tuple(tuple(sorted(style.style_for_token(kind).items())) for style in styles))
            simpler[kind] = first.setdefault(look, kind)
    return simpler


def formatter_for(styles: Iterable[str]) -> type[HtmlFormatter]:
    """Return a formatter that marks up what these styles tell apart."""
    simpler = simpler_tokens(styles)

    def look(kind: _TokenType) -> _TokenType:
        while kind not in simpler and kind.parent is not None and kind not in Generic:
            kind = kind.parent
        return simpler.get(kind, kind)

    class LeanFormatter(HtmlFormatter):
        """HTML without the elements that nobody sees."""

        def format_unencoded(self, tokensource: Iterable[tuple[_TokenType, str]], outfile: TextIO) -> None:
            super().format_unencoded(((look(kind), text) for kind, text in tokensource), outfile)

    return LeanFormatter


def use_lean_formatter(app: Sphinx, config: Config) -> None:
    """Let Sphinx format code for the two styles of the theme; another theme keeps Sphinx's own formatter."""
    options = config.html_theme_options
    styles = [options.get(f"pygments_{theme}_style") for theme in ("light", "dark")]
    PygmentsBridge.html_formatter = formatter_for(styles) if all(styles) else HtmlFormatter


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.connect("config-inited", use_lean_formatter)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
