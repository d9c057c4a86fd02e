"""The built site in a browser that reaches nothing but this machine."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pytest
import yaml
from axe_core_python.sync_playwright import Axe

ROOT = Path(__file__).resolve().parents[1]
VIEW = 'script[type="application/vnd.jupyter.widget-view+json"]'
LIVE = ".widget-live, .widget-subarea"
SLIDERS = ".widget-live input[type=range], .widget-live [role=slider]"


def documents() -> list[str]:
    """The pages of the table of contents, in its order."""

    def walk(node):
        if isinstance(node, dict):
            for key, value in node.items():
                if key in ("file", "root"):
                    yield value
                elif isinstance(value, list):
                    for item in value:
                        yield from walk(item)

    return list(walk(yaml.safe_load((ROOT / "_toc.yml").read_text())))


DOCUMENTS = documents()
CHAPTERS = [name for name in DOCUMENTS if (ROOT / f"{name}.ipynb").exists()]
PAGES = [*(f"{name}.html" for name in DOCUMENTS), "search.html", "genindex.html"]


class Watch:
    """Everything that goes wrong while pages load."""

    def __init__(self, page, base: str) -> None:
        self.problems: list[str] = []
        self.base = base
        page.on("request", self.request)
        page.on("requestfailed", lambda r: self.problems.append(f"failed: {r.url} ({r.failure})"))
        page.on("response", lambda r: r.status < 400 or self.problems.append(f"{r.status}: {r.url}"))
        page.on("pageerror", lambda error: self.problems.append(f"script error: {error}"))
        page.on("console", self.console)

    def request(self, request) -> None:
        if not request.url.startswith((self.base, "data:", "blob:")):
            self.problems.append(f"asks another host: {request.url}")

    def console(self, message) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(f"console {message.type}: {message.text}")


def wait_for_widgets(page) -> None:
    """Wait until every widget view stands."""
    page.wait_for_function(
        "([view, live]) => document.querySelectorAll(live).length >= document.querySelectorAll(view).length",
        arg=[VIEW, LIVE],
        timeout=20_000,
    )
    page.wait_for_function(
        "live => [...document.querySelectorAll(live)].every(e => e.querySelector('svg, canvas, input'))",
        arg=LIVE,
        timeout=20_000,
    )


def visit(page, url: str) -> None:
    """Open a page and wait for its widgets and its mathematics."""
    page.goto(url, wait_until="load")
    page.evaluate("() => window.MathJax?.startup?.promise")
    if page.locator(VIEW).count():
        wait_for_widgets(page)


@pytest.mark.parametrize("name", PAGES)
def test_page_loads_from_this_host_alone_and_without_an_error(page, site_url, name):
    watch = Watch(page, site_url)
    visit(page, f"{site_url}/{name}")
    page.mouse.wheel(0, 50_000)  # what loads late, loads now
    page.wait_for_load_state("networkidle")
    assert watch.problems == []
    assert page.title()


@pytest.mark.parametrize("name", DOCUMENTS)
def test_mathematics_is_typeset(page, site_url, name):
    visit(page, f"{site_url}/{name}.html")
    formulas = page.locator(".math").count()
    assert page.locator("mjx-container").count() >= formulas
    assert page.locator("mjx-merror").count() == 0


@pytest.mark.parametrize("name", DOCUMENTS)
def test_no_markup_is_left_over(page, site_url, name):
    """A role, a directive or a formula that was not understood stands in the text as it was written."""
    visit(page, f"{site_url}/{name}.html")
    text = page.evaluate(
        "() => { const a = document.querySelector('.bd-article').cloneNode(true);"
        " const away = 'pre, code, dt.sig, .field-list dt, script, style, mjx-container';"
        " a.querySelectorAll(away).forEach(e => e.remove());"
        " return a.textContent; }"
    )
    for pattern in (r"\{[a-z:]+\}`", r"```", r":::", r"\$[^$\s]+\$", r"\\\(", r"\*\*\w"):
        assert not re.search(pattern, text), (pattern, re.search(f".{{0,40}}{pattern}.{{0,40}}", text))


def names_of_sliders(page) -> list[str]:
    return page.eval_on_selector_all(
        SLIDERS, "all => all.map(e => e.ariaLabel || e.labels?.[0]?.textContent || '')"
    )


# Everything drawn, and everything read out, in the widget of a slider.
DRAWING = """e => { const w = e.closest('.widget-live');
  const look = x => x.tagName === 'CANVAS' ? x.toDataURL() : x.outerHTML;
  return [...w.querySelectorAll('svg, canvas')].map(look).join(); }"""
READ_OUT = """e => { const w = e.closest('.widget-live');
  return e.getAttribute('aria-valuetext') + [...w.querySelectorAll('output')].map(x => x.textContent); }"""


@pytest.mark.parametrize("name", CHAPTERS)
def test_each_slider_moved_by_keyboard_changes_drawing_and_read_out(page, site_url, name):
    visit(page, f"{site_url}/{name}.html")
    views = page.locator(VIEW).count()
    sliders = page.locator(SLIDERS)
    assert views >= 1, "a chapter without a widget"
    assert sliders.count() >= views, "a widget without a slider"
    for number in range(sliders.count()):
        slider = sliders.nth(number)
        if not slider.is_visible() or slider.is_disabled():
            continue
        slider.scroll_into_view_if_needed()
        slider.focus()
        page.keyboard.press("Home")  # where it may stand already
        page.wait_for_timeout(120)
        for key in ("ArrowRight", "ArrowRight", "ArrowLeft"):
            before = slider.evaluate(DRAWING), slider.evaluate(READ_OUT)
            page.keyboard.press(key)
            page.wait_for_timeout(120)
            after = slider.evaluate(DRAWING), slider.evaluate(READ_OUT)
            assert before[0] != after[0], f"slider {number}: {key} changes no drawing"
            assert before[1] != after[1], f"slider {number}: {key} changes no read-out"


@pytest.mark.parametrize("name", CHAPTERS)
def test_each_slider_has_a_name_and_a_value_in_words(page, site_url, name):
    visit(page, f"{site_url}/{name}.html")
    assert all(names_of_sliders(page))
    for text in page.eval_on_selector_all(SLIDERS, "all => all.map(e => e.getAttribute('aria-valuetext'))"):
        assert text, "a slider that only says a number of its own"


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_live_widget_takes_the_place_of_its_picture(page, site_url, name):
    visit(page, f"{site_url}/{name}.html")
    assert page.locator(".widget-fallback").count() == page.locator(VIEW).count()
    assert page.locator(".widget-fallback:visible").count() == 0


@pytest.mark.parametrize("name", CHAPTERS)
def test_phone_and_no_sideways_scrolling(browser, site_url, name):
    context = browser.new_context(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    page = context.new_page()
    for document in (name, DOCUMENTS[0]):
        visit(page, f"{site_url}/{document}.html")
        wide = page.evaluate(
            """() => { const root = document.documentElement, w = root.clientWidth;
                 const out = e => e.getBoundingClientRect().right > w + 1;
                 const all = [...document.querySelectorAll('.bd-article *')].filter(out);
                 const free = all.filter(e => !e.closest('pre, .math, table, mjx-container, .output'));
                 return [root.scrollWidth - w, ...free.slice(0, 5).map(e => e.outerHTML.slice(0, 90))]; }"""
        )
        assert wide[0] <= 0, (document, wide)
    context.close()


def luminance(colour: str) -> float:
    r, g, b = (float(x) for x in re.findall(r"[\d.]+", colour)[:3])
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def test_the_theme_button_switches_to_dark_and_the_widgets_follow(page, site_url):
    visit(page, f"{site_url}/{(CHAPTERS or DOCUMENTS)[0]}.html")
    ground = "() => getComputedStyle(document.body).backgroundColor"
    ink = """() => { const e = document.querySelector('.widget-live > *');
      return e && getComputedStyle(e).color; }"""
    seen = {}
    for _ in range(3):  # auto, light, dark
        theme = page.evaluate("() => document.documentElement.dataset.theme")
        seen[theme] = page.evaluate(ground), page.evaluate(ink)
        page.locator("button.theme-switch-button:visible").first.click()
        page.wait_for_timeout(300)
    assert set(seen) == {"light", "dark"}
    assert luminance(seen["light"][0]) > 200 > 60 > luminance(seen["dark"][0])
    if seen["light"][1]:
        assert luminance(seen["light"][1]) < 90, "dark ink on light ground"
        assert luminance(seen["dark"][1]) > 160, "light ink on dark ground"


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_no_violation(browser, site_url, name, theme):
    context = browser.new_context(
        color_scheme=theme, viewport={"width": 1280, "height": 900}, reduced_motion="reduce"
    )
    page = context.new_page()
    visit(page, f"{site_url}/{name}")
    page.evaluate("() => document.querySelectorAll('.bd-article details').forEach(e => { e.open = true; })")
    page.wait_for_timeout(1_000)  # what opens fades in
    result = Axe().run(page)
    found = [
        f"{v['id']} ({v['impact']}): {v['help']}: {[n['html'][:120] for n in v['nodes'][:3]]}"
        for v in result["violations"]
    ]
    context.close()
    assert result["passes"], "axe did not run"
    assert found == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_without_javascript_text_and_pictures_show(browser, site_url, name):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{site_url}/{name}.html", wait_until="load")
    assert page.locator(".bd-article h1").first.is_visible()
    assert len(page.locator(".bd-article").inner_text()) > 200
    pictures = page.locator(".widget-fallback img")
    assert pictures.count() == page.locator(VIEW).count()
    for number in range(pictures.count()):
        assert pictures.nth(number).is_visible()
        assert pictures.nth(number).bounding_box()["width"] > 200
    context.close()


@pytest.mark.parametrize("name", DOCUMENTS)
def test_quiz_opens_without_javascript_and_says_more_than_a_colour(browser, site_url, name):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{site_url}/{name}.html", wait_until="load")
    for kind, word in (("right", "right"), ("wrong", "not quite")):
        options = page.locator(f"details.quiz-{kind}")
        for number in range(options.count()):
            option = options.nth(number)
            mark = "e => getComputedStyle(e, '::after').content"
            assert word not in option.locator("summary").evaluate(mark), "closed, an option must not tell"
            option.locator("summary").click()
            assert word in option.locator("summary").evaluate(mark)
            explained = option.evaluate("e => e.innerText.replace(e.querySelector('summary').innerText, '')")
            assert len(explained.strip()) > 20, "every answer is explained"
    context.close()


@pytest.mark.parametrize("blocked", ["**/vendor/**", "**/*.js*"])
@pytest.mark.parametrize("name", CHAPTERS)
def test_a_failing_script_leaves_text_and_pictures(page, site_url, name, blocked):
    page.route(blocked, lambda route: route.abort())
    page.goto(f"{site_url}/{name}.html", wait_until="load")
    assert len(page.locator(".bd-article").inner_text()) > 1000
    pictures = page.locator(".widget-fallback img")
    assert pictures.count() == page.locator(VIEW).count() > 0
    for number in range(pictures.count()):
        pictures.nth(number).scroll_into_view_if_needed()
        assert pictures.nth(number).is_visible()


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_widget_that_raises_keeps_its_picture_and_the_others_live(page, site_url, name):
    def broken(route):
        body = route.fetch().text()
        source = re.search(r'"_esm": "', body)
        route.fulfill(
            body=body[: source.end()] + "throw new Error('planted');" + body[source.end() :],
            content_type="text/html",
        )

    page.route(f"**/{name}.html", broken)
    page.goto(f"{site_url}/{name}.html", wait_until="load")
    page.wait_for_timeout(1000)
    assert page.locator(".widget-fallback:visible").count() >= 1


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_image_says_what_it_shows(page, site_url, name):
    """In the page as it stands, after all scripts."""
    visit(page, f"{site_url}/{name}.html")
    for alt, width, source in page.eval_on_selector_all(
        ".bd-article img", "all => all.map(e => [e.getAttribute('alt'), e.naturalWidth, e.src])"
    ):
        assert alt, source
        assert len(alt.split()) >= 4, f"{source}: {alt!r} does not say what it shows"
        assert not re.search(r"[0-9a-f]{16}|\.png|\.svg", alt), alt
        assert width > 0, f"{source} is no picture"


@pytest.mark.parametrize("name", CHAPTERS)
def test_figures_are_numbered_and_have_captions(page, site_url, name):
    visit(page, f"{site_url}/{name}.html")
    figures = page.locator(".bd-article figure:has(> img), .bd-article figure:has(> a > img)")
    numbers = [figures.nth(k).locator(".caption-number").inner_text().strip() for k in range(figures.count())]
    assert numbers, "a chapter without a figure"
    assert all(re.fullmatch(r"Figure \d+(\.\d+)?", number) for number in numbers), numbers
    assert len(set(numbers)) == len(numbers)
    for number in range(figures.count()):
        assert len(figures.nth(number).locator(".caption-text").inner_text()) > 20


@pytest.mark.parametrize("name", DOCUMENTS)
def test_page_is_light_as_a_browser_counts(page, site_url, name):
    """All that Chromium fetches for a page, fonts included; texts compressed, as servers send them."""
    answers = []
    page.on("response", lambda answer: answers.append(answer))
    visit(page, f"{site_url}/{name}.html")
    page.mouse.wheel(0, 50_000)
    page.wait_for_load_state("networkidle")
    total = 0
    for answer in {answer.url: answer for answer in answers if answer.url.startswith("http")}.values():
        packed = answer.url.partition("?")[0].endswith((".woff", ".woff2", ".png"))
        total += len(answer.body() if packed else gzip.compress(answer.body(), 6))
    assert 100_000 < total < 1_500_000


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_icons_show(browser, site_url, theme):
    """Each icon has a glyph of the icon font (they are drawn without the theme's script)."""
    context = browser.new_context(color_scheme=theme)
    page = context.new_page()
    visit(page, f"{site_url}/{DOCUMENTS[0]}.html")
    empty = page.eval_on_selector_all(
        "i[class*='fa-']",
        "all => all.filter(e => ['none', 'normal', '\"\"'].includes(getComputedStyle(e, '::before').content)"
        " && e.querySelector('svg') === null).map(e => e.className)",
    )
    assert page.locator("i[class*='fa-']").count() > 3
    assert empty == []
    assert page.evaluate(
        "() => document.fonts.ready.then(() => document.fonts.check('900 16px \"Font Awesome 6 Free\"'))"
    )
    context.close()


def test_search_finds_a_word_of_a_chapter(page, site_url):
    page.goto(f"{site_url}/search.html?q=regularization", wait_until="load")
    page.wait_for_selector("ul.search li a", timeout=15_000)
    links = page.eval_on_selector_all("ul.search li a", "all => all.map(e => e.getAttribute('href'))")
    assert any(link.startswith("book/") for link in links)


def test_the_start_page_leads_to_the_introduction(page, site_url):
    page.goto(f"{site_url}/", wait_until="load")
    page.wait_for_url("**/book/intro.html*", timeout=10_000)


@pytest.mark.parametrize("name", CHAPTERS)
def test_colab_and_download_buttons_lead_to_the_notebook(page, site_url, name):
    visit(page, f"{site_url}/{name}.html")
    colab = page.locator("a[href*='colab.research.google.com']").first.get_attribute("href")
    home = yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]
    assert colab.endswith(
        f"{home['url'].removeprefix('https://github.com/')}/blob/{home['branch']}/{name}.ipynb"
    )
    download = page.locator("a.btn-download-source-button").first.get_attribute("href")
    answer = page.request.get(f"{site_url}/book/{download}")
    assert answer.json() == json.loads((ROOT / f"{name}.ipynb").read_text("utf-8"))


def test_site_check_finds_nothing(site):
    import check_site

    report = check_site.check(site)
    assert report.problems == []
    assert max(report.weights.values()) < check_site.MAX_BYTES
