"""The bibliography: each entry is cited somewhere, and none waits for somebody to check it."""

from __future__ import annotations

import json
import re
from pathlib import Path

BOOK = Path(__file__).resolve().parents[1] / "book"
CITED = re.compile(r"\{cite(?::\w+)?\}`([^`]+)`|\breferences\.\w+#(\w+)\)")
ENTRY = re.compile(r"(?m)^@\w+\{([^,\s]+),(.*)$")
UNCHECKED = re.compile(
    r"unverified|unchecked|from memory|not seen|before citing|to do|todo|\?\?", re.IGNORECASE
)


def texts() -> list[str]:
    """The Markdown of all pages."""
    pages = [path.read_text("utf-8") for path in BOOK.glob("*.md")]
    for path in [*BOOK.glob("*.ipynb"), *BOOK.glob("assignments/*.ipynb")]:
        cells = json.loads(path.read_text("utf-8"))["cells"]
        pages += ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    return pages


ENTRIES = dict(ENTRY.findall((BOOK / "references.bib").read_text("utf-8")))


def test_every_entry_is_cited_and_every_citation_has_an_entry():
    found = [keys or key for text in texts() for keys, key in CITED.findall(text)]
    cited = {key.strip() for keys in found for key in keys.split(",")}
    assert cited == set(ENTRIES)
    assert len(ENTRIES) > 40


def test_no_entry_waits_to_be_checked():
    assert not {key for key, fields in ENTRIES.items() if UNCHECKED.search(fields)}


def test_every_entry_says_who_what_where_and_when():
    for key, fields in ENTRIES.items():
        given = set(re.findall(r"(\w+)=\{", fields))
        assert {"author", "title", "year"} <= given, key
        assert given & {"journal", "booktitle", "publisher", "eprint", "url", "doi", "institution"}, key
