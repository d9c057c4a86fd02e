"""The book without a mouse, enlarged, on a telephone, with few colours: what axe does not see."""

from __future__ import annotations

import contextlib
import io
import itertools
import re
from typing import Any

import pytest
from bs4 import BeautifulSoup, SoupStrainer
from PIL import Image, ImageChops
from playwright.sync_api import TimeoutError

from colours import LEAST_CONTRAST, contrast, from_css
from conftest import run_axe
from test_site import CHAPTERS, DOCUMENTS, FADED_IN, visit

CHAPTER = "book/01_principles"
KINDS = {
    "chapter": CHAPTER,
    "assignment": "book/assignments/01_ridge_by_hand",
    "glossary": "book/glossary",
    "api": "book/api_select",  # of two pages of this kind the shorter one
    "search": "search",
    "source": "_modules/l2lab/budget",
}
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
CALM = {"reduced_motion": "reduce"}  # nothing is still on its way when a test looks


@pytest.fixture
def open_page(page, site_url):
    """Give a function that opens a page of the book, calm, in a window of some size."""

    def start(name: str, viewport: dict[str, int] = DESKTOP, **asked: Any):
        page.set_viewport_size(viewport)
        page.emulate_media(**CALM, **asked)
        visit(page, f"{site_url}/{name}.html")
        return page

    return start


# ---- the keyboard walk -------------------------------------------------------------------------------------

# Numbers everything that the Tab key should reach, in the order of the text, and gives a description of each.
EXPECT = """() => { document.activeElement?.blur(); window.getSelection().removeAllRanges();
  return [...document.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex]')]
    .filter(e => e.tabIndex >= 0 && !e.disabled && !e.closest('[inert]')
      && e.checkVisibility({visibilityProperty: true}))
    .map((e, k) => { e.dataset.stop = k; return e.outerHTML.slice(0, 140); }); }"""

# What has the focus, and whether a reader can see any of it: not hidden, not outside, not covered.
LOOK = """() => {
  const e = document.activeElement;
  if (!e || e === document.body) return null;
  const box = e.getBoundingClientRect(), inside = (x, high) => Math.min(high - 1, Math.max(0, x));
  const top = (x, y) => document.elementFromPoint(
    inside(box.left + x * box.width, innerWidth), inside(box.top + y * box.height, innerHeight));
  const seen = [.02, .25, .5, .75, .98].some(x => [.05, .5, .95].some(y => e.contains(top(x, y))));
  const shown = e.checkVisibility({visibilityProperty: true, opacityProperty: true});
  return {stop: Number(e.dataset.stop ?? -1), what: e.outerHTML.slice(0, 140), seen: seen && shown}; }"""

# The outline of each stop when it has the focus, with the colour of what lies below.
OUTLINES = """theme => { document.documentElement.dataset.theme = theme;
  // the picture for the other theme is not there
  const shown = e => !e.matches('.only-light, .only-dark') || e.offsetParent !== null;
  return [...document.querySelectorAll('[data-stop]')].filter(shown).map(e => {
    e.focus({preventScroll: true});
    const style = getComputedStyle(e);
    const clear = x => getComputedStyle(x).backgroundColor.startsWith('rgba');
    let under = parseFloat(style.outlineOffset) < 0 ? e : e.parentElement;
    while (clear(under) && under.parentElement) under = under.parentElement;
    return {what: e.outerHTML.slice(0, 140), style: style.outlineStyle, color: style.outlineColor,
            width: parseFloat(style.outlineWidth), under: getComputedStyle(under).backgroundColor}; }); }"""


def tab_through(page, longest: int) -> list[dict]:
    """Press Tab until the focus leaves the page or comes round."""
    stops: list[dict] = []
    for _ in range(longest):
        page.keyboard.press("Tab")
        stop = page.evaluate(LOOK)
        if stop and not stop["seen"]:  # what slides in is there a frame later
            page.wait_for_timeout(60)
            stop = page.evaluate(LOOK)
        if stop is None or (stops and stop["stop"] == stops[0]["stop"]):
            return stops
        stops.append(stop)
    pytest.fail(f"the focus does not leave the page; last: {stops[-1]['what']}")


@pytest.mark.parametrize(
    ("kind", "viewport"),
    [("chapter", DESKTOP), ("glossary", DESKTOP), ("assignment", PHONE), ("search", PHONE)],
    ids=["chapter", "glossary", "assignment-phone", "search-phone"],
)
def test_the_tab_key_reaches_everything_in_order_and_one_sees_where_it_is(open_page, kind, viewport):
    page = open_page(KINDS[kind], viewport=viewport)
    expected = page.evaluate(EXPECT)
    stops = tab_through(page, 2 * len(expected) + 20)
    order = [stop["stop"] for stop in stops]
    assert -1 not in order, f"unexpected: {[stop['what'] for stop in stops if stop['stop'] == -1]}"
    missed = [expected[k] for k in set(range(len(expected))) - set(order)]
    assert not missed
    assert order == sorted(order), "the focus follows the text"
    assert "main-content" in stops[0]["what"], "the skip link is first"
    assert [stop["what"] for stop in stops if not stop["seen"]] == []
    for theme in ("light", "dark"):
        for line in page.evaluate(OUTLINES, theme):
            assert line["style"] != "none", (theme, line)
            assert line["width"] >= 2, (theme, line)
            ratio = contrast(from_css(line["color"]), from_css(line["under"]))
            assert ratio >= LEAST_CONTRAST, (theme, round(ratio, 2), line)


def test_shift_and_tab_go_back_to_the_skip_link_which_leads_to_the_text(open_page):
    page = open_page(CHAPTER)
    page.evaluate(EXPECT)
    there, back = [], []
    for seen, key, times in ((there, "Tab", 12), (back, "Shift+Tab", 11)):
        for _ in range(times):
            page.keyboard.press(key)
            seen.append(page.evaluate(LOOK))
    assert [stop["stop"] for stop in back] == [stop["stop"] for stop in there[-2::-1]]
    link = page.locator("#pst-skip-link a")
    assert link.evaluate("e => e === document.activeElement")
    assert link.bounding_box()["y"] >= 0
    page.keyboard.press("Enter")
    assert page.url.endswith("#main-content")
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.querySelector('main').contains(document.activeElement)")


# One element of each look: kind and classes.
ONE_OF_EACH = """() => { const first = new Map();
  for (const e of document.querySelectorAll('[data-stop]')) {
    const around = e.closest('nav, header, footer, .lx, .admonition, details')?.className;
    const look = [e.tagName, ...e.classList, around];
    if (!first.has(look.join())) first.set(look.join(), Number(e.dataset.stop)); }
  return [...first.values()]; }"""


def picture(page, box: dict) -> Image.Image:
    return Image.open(io.BytesIO(page.screenshot(clip=box))).convert("RGB")


@pytest.mark.parametrize(
    "asked",
    [{"color_scheme": "light"}, {"forced_colors": "active"}],
    ids=["light", "forced-colors"],
)
def test_the_focus_changes_what_is_drawn(open_page, asked):
    """An outline can be cut off by a box around it, which its style does not tell; so look at the pixels."""
    page = open_page(CHAPTER, **asked)
    page.evaluate(EXPECT)
    for stop in page.evaluate(ONE_OF_EACH):
        element = page.locator(f"[data-stop='{stop}']")
        page.keyboard.press("Tab")  # the browser draws outlines for readers who use the keyboard
        element.evaluate("e => e.focus()")
        assert element.evaluate("e => e.matches(':focus-visible')")
        found = element.evaluate(
            "e => { e.scrollIntoView({block: 'nearest'}); const r = e.getBoundingClientRect(); return ["
            "Math.max(0, r.left - 6), Math.max(0, r.top - 6), Math.min(innerWidth, r.right + 6),"
            " Math.min(innerHeight, r.bottom + 6)]; }"
        )
        box = {"x": found[0], "y": found[1], "width": found[2] - found[0], "height": found[3] - found[1]}
        focused = picture(page, box)
        element.evaluate("e => e.blur()")
        change = (
            ImageChops.difference(focused, picture(page, box)).convert("L").point(lambda x: 255 * (x > 40))
        )
        pixels = change.histogram()[255]
        # WCAG 2.4.13 asks for an area as large as a line of 2 pixels around; half of that must be left here,
        # since a box may lie partly outside of the window.
        assert pixels >= 2 * min(found[2] - found[0], 200), (
            pixels,
            element.evaluate("e => e.outerHTML")[:160],
        )


def focused(page, selector: str) -> bool:
    return page.evaluate("s => document.activeElement.matches(s)", selector)


def test_the_search_opens_and_closes_by_key_and_gives_the_focus_back(open_page):
    page = open_page(KINDS["glossary"], viewport=PHONE)
    start = page.locator(".bd-article a:visible").first
    start.focus()
    page.keyboard.press("Control+k")
    dialog = page.locator("#pst-search-dialog")
    dialog.wait_for(state="visible")
    assert focused(page, "#pst-search-dialog input")
    for _ in range(4):
        page.keyboard.press("Tab")
        assert page.evaluate(
            "() => document.activeElement === document.body"
            " || !!document.activeElement.closest('#pst-search-dialog')"
        ), "the page behind is shut"
    page.keyboard.press("Escape")
    dialog.wait_for(state="hidden")
    assert start.evaluate("e => e === document.activeElement")
    page.keyboard.press("Control+k")
    page.keyboard.type("ridge")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search.html?q=ridge*")


def test_every_kind_of_control_answers_to_the_keyboard(open_page, site_url):
    page, key = open_page(CHAPTER), "Space"
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=site_url)

    def press(selector: str, nth: int = 0):
        element = page.locator(selector).nth(nth)
        element.focus()
        page.keyboard.press(key)
        return element

    theme = "() => document.documentElement.dataset.mode"
    before = page.evaluate(theme)
    press("button.theme-switch-button:visible")
    assert page.evaluate(theme) != before

    menu = press(".dropdown-download-buttons > button")
    assert menu.get_attribute("aria-expanded") == "true"
    page.keyboard.press("ArrowDown")
    assert focused(page, ".dropdown-download-buttons .dropdown-item")
    page.keyboard.press("Escape")
    assert menu.get_attribute("aria-expanded") == "false"
    assert focused(page, ".dropdown-download-buttons > button")

    code = page.locator("div.highlight:has(button.copybtn) pre").first
    press("button.copybtn")
    page.wait_for_function("() => navigator.clipboard.readText()")
    assert page.evaluate("() => navigator.clipboard.readText()").strip() == code.inner_text().strip()

    option = page.locator("details.quiz-right").first
    press("details.quiz-right > summary")
    assert option.evaluate("e => e.open")
    page.keyboard.press(key)
    assert not option.evaluate("e => e.open")

    solution = page.locator("details.solution").first
    press("details.solution > summary")
    assert solution.locator("p").first.is_visible()
    page.keyboard.press(key)
    assert not solution.locator("p").first.is_visible()

    slider = page.locator(".lx input[type=range]").first
    said = slider.get_attribute("aria-valuetext")
    press(".lx button.lx-play")  # one step, since the reader wants no movement
    page.wait_for_function("([e, said]) => e.ariaValueText !== said", arg=[slider.element_handle(), said])


@pytest.mark.parametrize(
    ("button", "bar"),
    [(".primary-toggle", "#pst-primary-sidebar"), (".secondary-toggle", "#pst-secondary-sidebar")],
    ids=["contents", "on-this-page"],
)
def test_the_side_bars_of_a_phone_open_and_close_by_key(open_page, button, bar):
    page = open_page(CHAPTER, viewport=PHONE)
    toggle = page.locator(f"{button}:visible").first
    toggle.focus()
    page.keyboard.press("Enter")
    dialog = page.locator("dialog[open]")
    dialog.wait_for(state="visible")
    links = dialog.locator("a:visible")
    assert links.count() > 5
    for _ in range(4):
        page.keyboard.press("Tab")
        assert page.evaluate("() => !!document.activeElement.closest('dialog[open]')")
    page.keyboard.press("Escape")
    dialog.wait_for(state="hidden")
    assert toggle.evaluate("e => e === document.activeElement")
    assert not page.locator(f"{bar} a").first.is_visible()


# ---- enlarged and narrow -----------------------------------------------------------------------------------

# WCAG 1.4.12: what a reader may set without losing anything.
SPACING = """p { margin-bottom: 2em !important }
  * { line-height: 1.5 !important; letter-spacing: 0.12em !important; word-spacing: 0.16em !important }"""

# What does not fit: the page scrolls sideways, the keyboard does not reach what scrolls, a text is cut off.
LOST = """() => {
  const root = document.documentElement, w = root.clientWidth, lost = [];
  const say = (what, e) => lost.push(`${what}: ${e.outerHTML.slice(0, 120)}`);
  const held = e => { for (let a = e.parentElement; a; a = a.parentElement)
    if (getComputedStyle(a).overflowX !== 'visible') return true; return false; };
  if (root.scrollWidth > w)
    for (const e of document.querySelectorAll('body *'))
      if (e.getBoundingClientRect().right > w + 1 && e.checkVisibility() && !held(e))
        say('wider than the page', e);
  const reached = 'a[href], button, input, select, summary, [tabindex="0"]';
  for (const e of document.querySelectorAll('main *, header *, footer *')) {
    const style = getComputedStyle(e), wide = e.scrollWidth > e.clientWidth + 1;
    if (!e.checkVisibility() || e.clientWidth < 3) continue;
    if (/auto|scroll/.test(style.overflowX) && wide && e.tabIndex < 0 && !e.querySelector(reached))
      say('scrolls, out of reach', e);
    const apart = '.lx-hidden, .visually-hidden, .toggle-hidden, svg, .math, mjx-container';
    if (/hidden|clip/.test(style.overflowX) && e.scrollWidth > e.clientWidth + 2 && e.textContent.trim()
        && !e.closest(apart)) say('cut off at the side', e);
    if (/hidden|clip/.test(style.overflowY) && e.scrollHeight > e.clientHeight + 2 && e.textContent.trim()
        && !e.closest(apart)) say('cut off below', e);
  }
  for (const e of document.querySelectorAll('.math')) {
    const formula = e.querySelector('mjx-math')?.getBoundingClientRect(), box = e.getBoundingClientRect();
    if (formula && formula.width && /hidden|clip/.test(getComputedStyle(e).overflowX)
        && formula.right > box.right + 2) say('formula cut off', e);
  }
  if (root.scrollWidth > w) lost.unshift(`the page is ${root.scrollWidth} wide, the window ${w}`);
  return [...new Set(lost)].slice(0, 6); }"""


@pytest.mark.parametrize("name", [*CHAPTERS, *(n for n in KINDS.values() if n != CHAPTER), "genindex"])
def test_nothing_is_lost_enlarged_and_axe_finds_nothing_with_solutions_open(open_page, name):
    """1280 pixels at 400 % are 320 (WCAG 1.4.4, 1.4.10); axe looks at one page of each kind."""
    page = open_page(name, viewport={"width": 320, "height": 568})
    open_all(page)
    assert not page.evaluate(LOST)
    spacing = page.add_style_tag(content=SPACING)
    page.evaluate("() => dispatchEvent(new Event('resize'))")
    wait_for_stops(page)
    assert not page.evaluate(LOST), "with wider spacing"
    spacing.evaluate("e => e.remove()")
    if name not in KINDS.values():
        return
    for viewport, theme in ((PHONE, "dark"), (DESKTOP, "light")):
        page.set_viewport_size(viewport)
        page.emulate_media(color_scheme=theme)
        page.wait_for_function("theme => document.documentElement.dataset.theme === theme", arg=theme)
        page.evaluate(FADED_IN)
        wait_for_stops(page)
        result = run_axe(page)
        assert result["passes"], "axe did not run"
        assert complaints(result) == [], theme
    if name == KINDS["glossary"]:  # the dialog is the same on all pages
        page.keyboard.press("Control+k")
        page.locator("#pst-search-dialog").wait_for(state="visible")
        assert complaints(run_axe(page)) == [], "with the search open"


# No box that scrolls is taken out of the order of the Tab key.
STOPS = """() => [...document.querySelectorAll('main [tabindex="-1"]')].every(e =>
  e.scrollWidth <= e.clientWidth + 1 || !/auto|scroll/.test(getComputedStyle(e).overflowX))"""


def wait_for_stops(page) -> None:
    """Wait until the theme has looked which boxes scroll, after a pause; what it misses a test will say."""
    with contextlib.suppress(TimeoutError):
        page.wait_for_function(STOPS, timeout=5_000)


def open_all(page) -> None:
    """Open hidden code, hidden solutions and the options of the quiz, and wait until that is done."""
    page.evaluate("() => document.querySelectorAll('.bd-article details').forEach(e => e.open = true)")
    page.evaluate(FADED_IN)
    wait_for_stops(page)


def complaints(result: dict) -> list[str]:
    return [
        f"{v['id']} ({v['impact']}): {[n['html'][:120] for n in v['nodes'][:3]]}"
        for v in result["violations"]
    ]


# The elements that the book adds to those of the theme. The explorer, whose texts lie on drawings, is left to
# test_palette.
OWN = [
    "details.quiz-right",
    "details.quiz-wrong",
    "figcaption:has(.caption-text)",
    "details.solution",
    ".exercise",
]
CONTRAST = """own => axe.run({include: own.filter(s => document.querySelector(s)).map(s => [s])},
  {runOnly: ['color-contrast'], resultTypes: ['violations', 'incomplete'], selectors: false})
  .then(r => [...r.violations, ...r.incomplete].flatMap(v => v.nodes)
    .map(n => [n.html.slice(0, 120), n.any[0]?.data?.messageKey ?? 'too low']))"""


@pytest.mark.parametrize("name", CHAPTERS[1:3])
def test_the_contrast_of_our_own_elements_is_known_and_sufficient(open_page, name):
    """Axe counts a contrast that it cannot work out neither as good nor as bad; of ours none is left open."""
    page = open_page(name)
    open_all(page)
    # Formulas have the colour of their text, but axe takes what MathJax draws for something in front of it.
    page.evaluate("() => document.querySelectorAll('.math').forEach(e => e.remove())")
    for theme in ("light", "dark"):
        page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
        page.evaluate(FADED_IN)
        assert run_axe(page, CONTRAST, OWN) == [], theme


# ---- what readers ask of their browser ---------------------------------------------------------------------


def test_nothing_moves_for_readers_who_ask_for_that(open_page):
    page = open_page(CHAPTER)
    slow = page.evaluate(
        """() => [...document.querySelectorAll('body *')].filter(e => {
             const s = getComputedStyle(e), longest = x => Math.max(...x.split(',').map(parseFloat));
             return longest(s.transitionDuration) > .01 || longest(s.animationDuration) > .01; })
             .map(e => e.outerHTML.slice(0, 90))"""
    )
    assert slow == []
    assert page.evaluate("() => getComputedStyle(document.documentElement).scrollBehavior") == "auto"


HEADINGS = SoupStrainer(re.compile("^h[1-6]$"))  # to read all of each page takes long


def test_a_page_has_one_main_heading_and_no_level_is_left_out(site):
    for name in DOCUMENTS:
        article = re.search("<article.*</article>", (site / f"{name}.html").read_text("utf-8"), re.DOTALL)[0]
        levels = [int(h.name[1]) for h in BeautifulSoup(article, "html.parser", parse_only=HEADINGS)]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(below <= above + 1 for above, below in itertools.pairwise(levels)), (name, levels)
