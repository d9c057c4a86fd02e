"""The glossary and the notation: their links lead somewhere, and they speak of what the chapters speak of."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

import pytest

BOOK = Path(__file__).resolve().parents[1] / "book"
GLOSSARY = BOOK / "glossary.md"
NOTATION = BOOK / "notation.md"
PAGES = sorted([*BOOK.glob("*.md"), *BOOK.glob("*.ipynb")])
CHAPTERS = sorted(BOOK.glob("0*.ipynb"))

ROLE = re.compile(r"\{(ref|numref|eq|term)\}`(?:[^`<]*<)?([^`<>]+)>?`")
SECTION = re.compile(r'(?m)^<a id="(?:sec|ch)-[\w-]+"></a>$')
LABEL = re.compile(r'(?m)^<a id="([\w-]+)"></a>$|^\(([\w-]+)\)=$')


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


def labels() -> set[str]:
    """All places that a link can lead to."""
    return {name for page in PAGES for groups in LABEL.findall(text_of(page)) for name in groups if name}


def entries_of(text: str) -> list[tuple[str, str]]:
    """Terms and their explanations, in the order of the page."""
    body = re.search(r"(?ms)^```\{glossary\}\n(.*?)^```$", text)
    assert body, "the page has no glossary"
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


def test_the_parser_sees_every_entry():
    text = "```{glossary}\na b\n  One, {ref}`sec-x`.\n\nc\n  Two\n  lines.\n```\n"
    assert entries_of(text) == [("a b", "One, {ref}`sec-x`."), ("c", "Two\n  lines.")]
    assert ROLE.findall("{term}`x y`, {term}`many <one>` and {eq}`eq-a`") == [
        ("term", "x y"),
        ("term", "one"),
        ("eq", "eq-a"),
    ]
    assert len(ENTRIES) >= 35


def test_a_term_is_found_as_a_word():
    assert names("a *decoupled*\ndecay", "decoupled decay")
    assert names("Gates", "gate")
    assert not names("aggregate", "gate")


def test_terms_are_sorted_and_stand_once():
    folded = [term.casefold() for term in TERMS]
    assert folded == sorted(set(folded))


@pytest.mark.parametrize(("term", "words"), ENTRIES, ids=TERMS)
def test_an_entry_is_explained_and_says_where(term, words):
    assert words.endswith("."), "a sentence ends with a period"
    assert any(role == "ref" for role, _ in ROLE.findall(words)), "no {ref} to the section that treats it"
    assert f"{{term}}`{term.casefold()}`" not in words.casefold(), "the entry refers to itself"


@pytest.mark.parametrize("term", TERMS)
def test_a_term_occurs_in_a_chapter(term):
    assert any(names(text_of(page), term) for page in CHAPTERS)


@pytest.mark.parametrize(("term", "words"), ENTRIES, ids=TERMS)
def test_a_term_occurs_where_the_glossary_sends_the_reader(term, words):
    places = [name for role, name in ROLE.findall(words) if role == "ref"]
    assert any(names(section(name), term) for name in places), f"{term} is not named in {places}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_term_is_used_that_the_glossary_lacks(page):
    known = {term.casefold() for term in TERMS}
    used = {name.casefold() for role, name in ROLE.findall(text_of(page)) if role == "term"}
    assert used <= known


@pytest.mark.parametrize("page", [GLOSSARY, NOTATION], ids=lambda page: page.name)
def test_every_link_has_a_target(page):
    named = {name for role, name in ROLE.findall(text_of(page)) if role in ("ref", "numref", "eq")}
    assert named
    assert named <= labels()


def test_notation_uses_the_glossary_and_the_convention():
    roles = ROLE.findall(text_of(NOTATION))
    assert ("eq", "eq-objective") in roles
    assert any(role == "term" for role, _ in roles)


def test_the_rows_of_a_table_have_as_many_cells_as_its_head():
    # A bar inside a formula would cut the cell in two, without a warning of the build.
    tables = re.findall(r"(?m)(?:^\|.*\n)+", text_of(NOTATION))
    assert len(tables) == 5
    for table in tables:
        assert len({line.count("|") for line in table.splitlines()}) == 1, table.splitlines()[0]
