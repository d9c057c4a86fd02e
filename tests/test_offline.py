"""The built site where there is no host: opened as files, and served from a folder with an awkward name.

The browser reaches nothing but this machine (see conftest.py), so whatever loads here needs no network.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from site_pages import CHAPTERS, DOCUMENTS, LIVE, SLIDERS, VIEW, Watch, visit

CHAPTER = CHAPTERS[1]
DEEP = next(name for name in DOCUMENTS if name.count("/") == 2)
FOLDER = "some/deep/path%20with space"  # the sign and the blank are in the name
# Pictures further down load when a reader comes near, or here when they are asked to.
BROKEN = """all => Promise.all(all.map(async e => {
  e.loading = 'eager';
  return e.decode().then(() => [], () => [e.src]); })).then(found => found.flat())"""


@pytest.fixture(scope="module", params=["files", "sub-path"])
def base(request, site: Path, serve: Callable[[Path], str], tmp_path_factory) -> str:
    """Address of the site without a slash at its end."""
    if request.param == "files":
        return site.as_uri()
    root = tmp_path_factory.mktemp("host")
    (root / FOLDER).parent.mkdir(parents=True)
    (root / FOLDER).symlink_to(site)
    return f"{serve(root)}/{quote(FOLDER)}"


@pytest.fixture
def watch(page, base) -> Watch:
    """Note all that goes wrong, and every request that leaves the site's folder."""
    return Watch(page, base)


def test_text_pictures_and_mathematics_show(page, base, watch):
    visit(page, f"{base}/{DEEP}.html")
    assert page.eval_on_selector_all("img:not(.pst-js-only)", BROKEN) == []
    assert page.locator("mjx-container").count() >= page.locator(".math").count()
    # a style sheet and a font that load, not only a request that goes well
    assert (
        page.evaluate("() => getComputedStyle(document.querySelector('.bd-sidebar-primary')).display")
        == "flex"
    )
    assert page.evaluate(
        "() => document.fonts.load('900 16px \"Font Awesome 6 Free\"').then(found => found.length)"
    )
    assert watch.problems == []


def test_every_slider_of_a_chapter_lives(page, base, watch):
    visit(page, f"{base}/{CHAPTER}.html")
    assert page.eval_on_selector_all("img:not(.pst-js-only)", BROKEN) == []
    assert page.locator(LIVE).count() == page.locator(VIEW).count() > 0
    slider = page.locator(SLIDERS).first
    slider.focus()
    page.keyboard.press("Home")
    before = slider.get_attribute("aria-valuetext")
    page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "([s, b]) => document.querySelector(s).getAttribute('aria-valuetext') !== b", arg=[SLIDERS, before]
    )
    assert watch.problems == []


def test_the_search_box_finds_a_word_and_leads_to_it(page, base, watch):
    visit(page, f"{base}/{DEEP}.html")
    page.keyboard.press("Control+k")
    page.locator("#pst-search-dialog input[name=q]").fill("ridge")
    page.keyboard.press("Enter")
    page.wait_for_url(f"{base}/search.html?q=ridge")
    page.wait_for_function("() => /finished/.test(document.querySelector('.search-summary')?.textContent)")
    assert page.locator("ul.search li a").count() > 3
    # Browsers do not let a page opened as a file read others: there are titles, but no summaries.
    summaries = page.locator("ul.search li p.context")
    if base.startswith("file:"):
        assert summaries.count() == 0
    else:
        summaries.first.wait_for()
    page.locator("ul.search li a").first.click()
    page.wait_for_url(f"{base}/book/**")
    assert watch.problems == []


def test_the_page_for_missing_addresses_needs_nothing_but_itself(page, site, site_url):
    """A host shows it at any depth; where its links lead is looked at in test_frame.py."""
    gone, asked = f"{site_url}/gone/for/ever", []
    page.on("request", lambda request: asked.append(request.url))
    page.route(gone, lambda route: route.fulfill(status=200, path=site / "404.html"))
    page.goto(gone)
    assert page.locator("h1").inner_text() == "This page does not exist"
    assert [url for url in asked if not url.endswith("/favicon.ico")] == [gone]
