"""Take out what every page would load for nothing: Font Awesome's icons as a script.

The theme ships its icons twice, as web fonts with their style sheet, which draw every icon of the book, and
as a script of 540 kB (compressed) that only brands of one's own need.  The book has none, and without the
script the icons show without JavaScript too.  The theme's template writes the script's tag itself, so it is
removed from the finished files.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

SCRIPT = re.compile(r'\s*<script\b[^>]*\bsrc="[^"]*scripts/fontawesome\.js[^"]*"[^>]*></script>')


def drop_icon_script(app: Sphinx, error: Exception | None) -> None:
    """Remove the script's tag from all pages, and the script."""
    if error or app.builder.format != "html":
        return
    out = Path(app.outdir)
    for page in out.rglob("*.html"):
        text = page.read_text("utf-8")
        lighter = SCRIPT.sub("", text)
        if lighter != text:
            page.write_text(lighter, "utf-8")
    for file in (out / "_static" / "scripts").glob("fontawesome.js*"):
        file.unlink()


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.connect("build-finished", drop_icon_script)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
