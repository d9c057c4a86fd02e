"""Glossary, notation and bibliography speak of what the chapters speak of. (The build follows links.)"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

import pytest

BOOK = Path(__file__).resolve().parents[1] / "book"
GLOSSARY = BOOK / "glossary.md"
PAGES = sorted([*BOOK.glob("*.md"), *BOOK.glob("*.ipynb")])

ROLE = re.compile(r"\{(ref|numref|eq|term)\}`(?:[^`<]*<)?([^`<>]+)>?`")
SECTION = re.compile(r'(?m)^<a id="(?:sec|ch)-[\w-]+"></a>$')


@cache
def text_of(page: Path) -> str:
    """The text of a page; of a notebook, its Markdown cells."""
    if page.suffix == ".md":
        return page.read_text("utf-8")
    cells = json.loads(page.read_text("utf-8"))["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


def names(text: str, term: str) -> bool:
    """Whether a text has the term, in the plural too; emphasis, line breaks and capitals do not matter."""
    words = re.sub(r"\s+", " ", text.replace("*", ""))
    return re.search(rf"\b{re.escape(term)}", words, re.IGNORECASE) is not None


def entries_of(text: str) -> list[tuple[str, str]]:
    """Terms and their explanations, in the order of the page."""
    body = re.search(r"(?ms)^```\{glossary\}\n(.*?)^```$", text)
    parts = re.split(r"(?m)^(?=\S)", body[1])
    return [
        (term.strip(), words.strip()) for term, _, words in (p.partition("\n") for p in parts if p.strip())
    ]


def section(label: str) -> str:
    """The text from a label to the next one of a section; of a chapter, all of it."""
    for page in PAGES:
        text = text_of(page)
        _, found, rest = text.partition(f'<a id="{label}"></a>\n')
        if not found:
            continue
        if label.startswith("ch-"):
            return text
        return SECTION.split(rest, maxsplit=1)[0]
    raise AssertionError(f"no page has the label {label}")


ENTRIES = entries_of(text_of(GLOSSARY))
TERMS = [term for term, _ in ENTRIES]


def test_terms_are_sorted_and_stand_once():
    assert len(TERMS) >= 35
    folded = [term.casefold() for term in TERMS]
    assert folded == sorted(set(folded))


@pytest.mark.parametrize(("term", "words"), ENTRIES, ids=TERMS)
def test_an_entry_is_explained_and_named_where_it_sends_the_reader(term, words):
    assert words.endswith("."), "a sentence ends with a period"
    assert f"{{term}}`{term.casefold()}`" not in words.casefold(), "the entry refers to itself"
    places = [name for role, name in ROLE.findall(words) if role == "ref"]
    assert any(names(section(name), term) for name in places), f"{term} is not named in {places}"


# ---- the bibliography --------------------------------------------------------------------------------------

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
