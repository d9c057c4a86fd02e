r"""Typeset formulas and code in the options of a quiz.

An option is ``<details class="quiz-right"><summary>A. $\lambda$</summary> … </details>`` (or ``quiz-wrong``).

Markdown does not look inside the ``<summary>`` line of an HTML block.  JupyterLab typesets ``$…$`` there all
the same; this extension does it for the page: ``$…$`` becomes a formula for MathJax and ``\`…\``` becomes
code.
"""

from __future__ import annotations

import re
from html import escape, unescape
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform

SUMMARY = re.compile(r"(<summary[^>]*>)(.*?)(</summary>)", re.DOTALL)
INLINE = re.compile(r"\$(?P<math>[^$\n]+)\$|`(?P<code>[^`\n]+)`")


def typeset(match: re.Match[str]) -> str:
    """Turn one piece of inline math or code into HTML."""
    if match["math"] is not None:
        return rf'<span class="math notranslate nohighlight">\({escape(unescape(match["math"]))}\)</span>'
    return f'<code class="docutils literal notranslate">{escape(unescape(match["code"]))}</code>'


def typeset_summaries(html: str) -> str:
    """Typeset what stands in the summaries of a piece of HTML; the rest stays as it is."""
    return SUMMARY.sub(lambda m: m[1] + INLINE.sub(typeset, m[2]) + m[3], html)


class TypesetSummaries(SphinxPostTransform):
    """Rewrite the raw HTML blocks that hold summaries."""

    default_priority = 500
    formats = ("html",)

    def run(self, **kwargs: Any) -> None:
        """Visit every raw HTML block of the page."""
        for block in self.document.findall(nodes.raw):
            if "html" in block.get("format", "") and "<summary" in block.astext():
                block.children = [nodes.Text(typeset_summaries(block.astext()))]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.add_post_transform(TypesetSummaries)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
