"""The frame of a published site: heads on a tiny project, files at the root, and the built book."""

from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from bs4 import BeautifulSoup
from PIL import Image
from sphinx.errors import ConfigError

import check_site
import set_repository
import site_frame
from conftest import ROOT, run_axe
from test_ext import Project
from test_site import DOCUMENTS

REPOSITORY = "https://github.com/Some-One/a.book"
BASE = "https://some-one.github.io/a.book/"
PAGE = "# A *title* & more\n\n{}\n"


def setting(**options):
    """What Jupyter Book makes of ``repository: url:``, and the extension."""
    return {
        "extensions": ["myst_nb", "sphinx_book_theme", "site_frame"],
        "html_theme_options": {"repository_url": REPOSITORY},
        "html_theme": "sphinx_book_theme",
        "html_title": 'The "Book"',
        "html_static_path": ["_static"],
        "language": "en",
        **options,
    }


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path)
    (made.source / "_static").mkdir()
    (made.source / "_static" / site_frame.CARD).write_bytes(b"")
    (made.source / "index.md").write_text(PAGE.format("First words."))
    return made


def build(project: Project, text: str | None = None, **options) -> BeautifulSoup:
    if text is not None:
        (project.source / "index.md").write_text(text)
    return project.build(None, **setting(**options))[0]


def meta(page: BeautifulSoup, name: str) -> str:
    """The content of the one ``<meta>`` of this name."""
    (found,) = page.head.find_all("meta", attrs={"property" if name.startswith("og:") else "name": name})
    return found["content"]


def sitemap(folder: Path) -> list[str]:
    return [loc.text for loc in ET.parse(folder / "sitemap.xml").iter(f"{{{site_frame.SITEMAP}}}loc")]


class TestDescription:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("One *two*\nthree `four` “five”.\n\nNot this.", "One two three four “five”."),
            ('A <b>bold</b> word & `"code"` <3.', 'A bold word & "code" <3.'),
            ("```{note}\nA box.\n```\n\n- an item\n\nRunning text.", "Running text."),
            ("> 20 points.\n\nWhat it is about.", "What it is about."),
            ("![a picture](_static/card.png)\n\nWords.", "Words."),
            ("A claim[^n].\n\n[^n]: A note.", "A claim."),
            ("## Section\n\nOnly here.", "Only here."),
        ],
    )
    def test_is_the_first_paragraph_of_running_text(self, project, text, expected):
        page = build(project, PAGE.format(text))
        assert meta(page, "description") == meta(page, "og:description") == expected

    @pytest.mark.parametrize("first", range(1, 13))  # moves the limit through a word and its hyphen
    def test_is_cut_at_a_word(self, first):
        words = ["x" * first, *(f"well-known{k}" for k in range(10, 50))]
        text = site_frame.shorten(" ".join(words))
        assert text.endswith("…")
        assert 140 < len(text) <= 160
        kept = text[:-1].split()
        assert kept == words[: len(kept)]

    def test_is_cut_on_the_page(self, project):
        page = build(project, PAGE.format("word " * 99))
        assert meta(page, "description") == meta(page, "og:description") == site_frame.shorten("word " * 99)

    def test_of_the_author_wins_and_stands_once(self, project):
        front = "---\nmyst:\n  html_meta:\n    description: By hand.\n    keywords: a, b\n---\n\n"
        page = build(project, front + PAGE.format("First words."))
        assert meta(page, "description") == meta(page, "og:description") == "By hand."
        assert meta(page, "keywords") == "a, b"

    def test_of_a_page_without_words_is_its_title(self, project):
        assert meta(build(project, "# Title\n"), "description") == 'Title – The "Book"'
        search = BeautifulSoup((project.built / "html/search.html").read_text(), "html.parser")
        assert meta(search, "description") == 'The "Book"'


class TestHead:
    def test_names_the_page_and_its_address(self, project):
        (project.source / "part").mkdir()
        (project.source / "part" / "b c.md").write_text("# B\n\nText.\n")
        page = build(project, PAGE.format("Words.") + "\n```{toctree}\npart/b c\n```\n")
        other = BeautifulSoup((project.built / "html/part/b c.html").read_text(), "html.parser")
        for soup, name, kind, title in (
            (page, "index.html", "website", "A title & more"),
            (other, "part/b%20c.html", "article", "B"),
        ):
            assert [link["href"] for link in soup.find_all("link", rel="canonical")] == [BASE + name]
            assert meta(soup, "og:url") == BASE + name
            assert meta(soup, "og:type") == kind
            assert meta(soup, "og:title") == title
            assert meta(soup, "og:site_name") == 'The "Book"'
            assert meta(soup, "og:image") == f"{BASE}_static/card.png"
            assert meta(soup, "og:image:alt")
            assert meta(soup, "twitter:card") == "summary_large_image"
        assert sitemap(project.built / "html") == [f"{BASE}index.html", f"{BASE}part/b%20c.html"]

    def test_a_domain_of_one_s_own_wins(self, project):
        page = build(project, html_baseurl="https://book.example.org")
        assert meta(page, "og:url") == "https://book.example.org/index.html"
        assert page.find("link", rel="canonical")["href"] == "https://book.example.org/index.html"
        assert sitemap(project.built / "html") == ["https://book.example.org/index.html"]

    def test_another_repository_changes_pages_that_did_not_change(self, project):
        build(project)
        page = build(project, html_theme_options={"repository_url": "https://github.com/fork/fork.github.io"})
        assert meta(page, "og:url") == "https://fork.github.io/index.html"

    def test_without_an_address_nothing_leads_anywhere(self, project):
        buttons = dict.fromkeys(site_frame.REPOSITORY_BUTTONS, True)
        launch = {"colab_url": "https://colab.research.google.com"}
        text = PAGE.format("Words.")
        options = {"repository_url": "", "launch_buttons": launch, **buttons}
        page = build(project, text, html_theme_options=options)
        assert meta(page, "description") == "Words."
        assert not page.find_all("link", rel="canonical")
        assert not [a for a in page.find_all("a", href=True) if "github" in a["href"] or "colab" in a["href"]]
        assert not (project.built / "html/sitemap.xml").exists()
        options["repository_url"] = REPOSITORY
        page = build(project, text, html_theme_options=options)
        assert page.find("a", href=REPOSITORY), "with one the buttons are there"

    @pytest.mark.parametrize("address", ["https://gitlab.com/a/b", "https://github.com/a"])
    def test_of_another_host_it_says_what_to_do(self, project, address):
        with pytest.raises(ConfigError, match=r"repository: url: in _config\.yml"):
            build(project, html_theme_options={"repository_url": address})

    def test_a_missing_card_is_a_warning(self, project):
        (project.source / "_static" / site_frame.CARD).unlink()
        _, said = project.build(None, strict=False, **setting())
        assert "no card.png in html_static_path" in said


class TestRootFiles:
    def test_an_incremental_build_lists_all_documents_and_no_excluded_ones(self, project):
        (project.source / "hidden.md").write_text("---\norphan: true\n---\n# Hidden\n")
        (project.source / "a.md").write_text("---\norphan: true\n---\n# A\n")
        build(project, exclude_patterns=["hidden.md"])
        build(project, PAGE.format("Changed."), exclude_patterns=["hidden.md"])
        assert sitemap(project.built / "html") == [f"{BASE}a.html", f"{BASE}index.html"]
        (project.source / "a.md").unlink()
        build(project, exclude_patterns=["hidden.md"])
        assert sitemap(project.built / "html") == [f"{BASE}index.html"]

    def test_robots_name_the_sitemap(self, project):
        build(project)
        lines = (project.built / "html/robots.txt").read_text().splitlines()
        assert f"Sitemap: {BASE}sitemap.xml" in lines
        assert not [line for line in lines if line.startswith("Disallow")]

    def test_404_stands_alone(self, project):
        build(project, language="en_AU")  # one without translations, which Sphinx would keep for later tests
        text = (project.built / "html/404.html").read_text("utf-8")
        page = BeautifulSoup(text, "html.parser")
        assert page.html["lang"] == "en-AU"
        assert page.title.text == 'Page not found – The "Book"'
        assert len(page.find_all("h1")) == 1
        assert not list(check_site.loaded(page))
        assert not page.find("script")
        assert [a["href"] for a in page.find_all("a")] == [BASE, f"{BASE}search.html"]
        assert "$" not in text
        assert text.count("&quot;Book&quot;") == 2, "a title is text, not markup"

    def test_the_start_page_has_the_tags_of_the_first_page_and_leads_there(self, project):
        (project.source / "part").mkdir()
        (project.source / "index.md").rename(project.source / "part" / "one.md")
        build(project, root_doc="part/one")
        start = BeautifulSoup((project.built / "html/index.html").read_text("utf-8"), "html.parser")
        assert start.find("meta", attrs={"http-equiv": "refresh"})["content"] == "0; url=part/one.html"
        assert start.find("link", rel="canonical")["href"] == f"{BASE}part/one.html"
        assert start.body.a["href"] == "part/one.html"
        first = BeautifulSoup((project.built / "html/part/one.html").read_text("utf-8"), "html.parser")
        for name in ("description", "og:title", "og:url", "og:image", "og:image:alt", "twitter:card"):
            assert meta(start, name) == meta(first, name)


def test_parallel_builds_give_the_same_pages(project):
    """Sphinx reads serially, with a warning, if an extension is not safe; it writes in forked processes."""
    names = [f"page{k}" for k in range(8)]
    for name in names:
        (project.source / f"{name}.md").write_text(f"# Title of {name}\n\nWords of {name}.\n")
    (project.source / "index.md").write_text("# T\n\nW.\n\n```{toctree}\n" + "\n".join(names) + "\n```\n")
    (project.source / "conf.py").write_text(
        f"import sys\nsys.path.append({str(ROOT / 'book/_ext')!r})\nglobals().update({setting()!r})\n"
    )
    out = project.built / "html"
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-j", "2", project.source, out]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in names:
        page = BeautifulSoup((out / f"{name}.html").read_text("utf-8"), "html.parser")
        assert meta(page, "description") == f"Words of {name}."
        assert meta(page, "og:url") == f"{BASE}{name}.html"
    assert len(sitemap(out)) == 9


# ---- the book ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def base() -> str:
    """Where the book is published; nothing to look at if it is nowhere yet."""
    if not set_repository.home():
        pytest.skip("the book has no address yet: make address")
    return set_repository.pages(set_repository.home())


@pytest.fixture(scope="module")
def heads(site) -> dict[str, BeautifulSoup]:
    """The pages of the book that Sphinx has made, by their path, with their heads alone."""
    found = {path.relative_to(site).as_posix(): path.read_text("utf-8") for path in site.rglob("*.html")}
    return {
        name: BeautifulSoup(text.partition("</head>")[0] + "</head></html>", "html.parser")
        for name, text in found.items()
        if name not in ("index.html", "404.html") and not name.startswith(("_static/", "vendor/"))
    }


def test_every_page_of_the_book_has_description_address_and_card(heads, base):
    assert {f"{name}.html" for name in DOCUMENTS} | {"search.html", "genindex.html"} <= set(heads)
    for name, page in heads.items():
        assert 0 < len(meta(page, "description")) <= 160, name
        assert [link["href"] for link in page.find_all("link", rel="canonical")] == [base + name]
        assert meta(page, "og:url") == base + name
        assert meta(page, "og:image") == f"{base}_static/card.png"


def test_the_descriptions_of_the_book_are_words_and_differ(heads):
    descriptions = [meta(heads[f"{name}.html"], "description") for name in DOCUMENTS]
    assert len(set(descriptions)) == len(descriptions)
    for text in descriptions:
        assert len(text) > 20, text
        assert not re.search(r"[\\$<>{}]|Colab", text), f"no plain words: {text}"


def test_the_sitemap_of_the_book_is_its_table_of_contents(site, base):
    addresses = sitemap(site)
    assert sorted(addresses) == sorted(f"{base}{name}.html" for name in DOCUMENTS)
    assert all((site / address.removeprefix(base)).is_file() for address in addresses)


def test_the_card_has_the_size_that_the_pages_say_and_is_light(site):
    card = site / "_static" / site_frame.CARD
    with Image.open(card) as image:
        assert image.size == site_frame.CARD_SIZE
    assert card.stat().st_size < 60_000


def test_the_bare_address_of_the_book_has_its_card(site, base):
    start = BeautifulSoup((site / "index.html").read_text("utf-8"), "html.parser")
    assert meta(start, "og:url") == f"{base}{DOCUMENTS[0]}.html"
    assert meta(start, "og:image") == f"{base}_static/card.png"


def test_the_links_of_404_lead_to_pages_of_the_book(site, base):
    page = BeautifulSoup((site / "404.html").read_text("utf-8"), "html.parser")
    for link in page.find_all("a"):
        assert link["href"].startswith(base)
        path = urlsplit(link["href"]).path.removeprefix(urlsplit(base).path)
        assert (site / (path or "index.html")).is_file()


def test_404_is_accessible_in_light_and_dark(browser, site_url, base):
    grounds = set()
    for scheme in ("light", "dark"):
        context = browser.new_context(color_scheme=scheme, viewport={"width": 360, "height": 700})
        page = context.new_page()
        asked = []
        page.on("request", lambda request, asked=asked: asked.append(request.url))
        page.goto(f"{site_url}/404.html", wait_until="load")
        assert [url for url in asked if not url.endswith("/favicon.ico")] == [f"{site_url}/404.html"]
        (found,) = run_axe(page)
        assert found["violations"] == []
        assert any(rule["id"] == "color-contrast" for rule in found["passes"])
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "wider than a phone"
        grounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        context.close()
    assert len(grounds) == 2
