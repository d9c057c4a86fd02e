"""Glossary and bibliography: sorted, cited and complete. (The build follows links.)"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

BOOK = Path(__file__).resolve().parents[1] / "book"
PAGES = sorted([*BOOK.glob("*.md"), *BOOK.glob("*.ipynb")])


@cache
def text_of(page: Path) -> str:
    """The text of a page; of a notebook, its Markdown cells."""
    if page.suffix == ".md":
        return page.read_text("utf-8")
    cells = json.loads(page.read_text("utf-8"))["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


def test_terms_are_sorted_and_stand_once():
    body = re.search(r"(?ms)^```\{glossary\}\n(.*?)^```$", text_of(BOOK / "glossary.md"))[1]
    folded = [term.casefold() for term in re.findall(r"(?m)^\S.*$", body)]
    assert len(folded) >= 35
    assert folded == sorted(set(folded))


CITED = re.compile(r"\{cite(?::\w+)?\}`([^`]+)`|\breferences\.\w+#(\w+)\)")
ENTRY = re.compile(r"(?m)^@\w+\{([^,\s]+),(.*)$")
UNCHECKED = re.compile(r"(?i)unverified|unchecked|from memory|not seen|before citing|to do|todo|\?\?")
WORKS = dict(ENTRY.findall((BOOK / "references.bib").read_text("utf-8")))


def test_every_entry_is_cited_and_every_citation_has_an_entry():
    pages = [*PAGES, *BOOK.glob("assignments/*.ipynb")]
    found = [keys or key for text in map(text_of, pages) for keys, key in CITED.findall(text)]
    cited = {key.strip() for keys in found for key in keys.split(",")}
    assert cited == set(WORKS)
    assert set(re.findall(r"@(\w+)", (BOOK.parent / "paper.md").read_text("utf-8"))) <= cited


def test_every_entry_says_who_what_where_and_when_and_none_waits_to_be_checked():
    for key, fields in WORKS.items():
        given = set(re.findall(r"(\w+)=\{", fields))
        assert {"author", "title", "year"} <= given, key
        assert given & {"journal", "booktitle", "publisher", "eprint", "url", "doi", "institution"}, key
        assert not UNCHECKED.search(fields), key
