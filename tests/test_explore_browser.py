"""The λ explorer seen from a browser: what its panels draw and say, its address, its look, its hosts."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest

from colours import contrast, from_css
from conftest import faults
from explorer_page import (
    DATA,
    GEOMETRY_LAMS,
    HEAT_LAMS,
    HEAT_ROWS,
    HESSIAN,
    HOST,
    LAMS,
    MOVE,
    W_STAR,
    L,
    alone,
    drawings,
    explorers,
    notes,
    numbers,
    open_page,
    page,
    part,
    put_at,
    readout,
    said,
    settle,
    slider,
    standing,
    url,
)
from l2lab.budget import decay_limits, decay_plan, lam_needed, lam_of_timescale, remaining_share
from l2lab.conventions import convert
from l2lab.explore import LambdaExplorer, box_2d, calculator_panel, curves_panel, lasso_2d, ridge_2d

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

__all__ = ["alone", "explorers", "page", "said", "standing", "url"]  # fixtures


def test_broken_widgets_and_a_foreign_one_keep_their_pictures(page: Page, url: str) -> None:
    """One breaks when it is drawn, one when its source is read; all others take the place of theirs."""
    errors: list[str] = []
    page.on("console", lambda m: m.type == "error" and errors.append(m.text))
    with page.expect_console_message(lambda m: "keep their picture" in m.text):  # said when all is done
        page.goto(f"{url}/broken.html")
    shown = [e.is_visible() for e in page.locator(".widget-fallback").all()]
    assert shown == [True, True, False, False, False, False, True]
    assert sum("broken on purpose" in text for text in errors) == 2


class TestSlider:
    def test_readout(self, standing: Page) -> None:
        for name, index, text in (
            ("a", 0, "λ = 10⁻⁵"), ("a", 2, "λ = 2.51·10⁻⁵"), ("a", 17, "λ = 0.0251"), ("b", 0, "λ = 0"),
        ):  # fmt: skip
            put_at(standing, name, index)
            assert readout(standing, name) == text
        assert slider(standing, "a").get_attribute("aria-valuetext") == "λ = 0.0251"

    def test_mouse_and_finger_on_slider_and_curve(self, browser: Browser, url: str) -> None:
        context = browser.new_context(viewport={"width": 360, "height": 700}, has_touch=True, is_mobile=True)
        page = open_page(context.new_page(), f"{url}/b.html", 1)
        box = slider(page, "b").bounding_box()
        page.mouse.click(box["x"] + box["width"] - 12, box["y"] + box["height"] / 2)
        assert int(slider(page, "b").input_value()) >= L - 1
        plot = part(page, "b").locator("svg.scrub").first
        plot.scroll_into_view_if_needed()
        box = plot.bounding_box()
        page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + 60)
        page.mouse.down()
        page.mouse.move(box["x"] + 3, box["y"] + 60, steps=5)
        page.mouse.up()
        assert int(slider(page, "b").input_value()) == 0
        page.touchscreen.tap(box["x"] + box["width"] - 20, box["y"] + 60)
        settle(page)
        assert readout(page, "b") == "λ = 10"
        context.close()

    def test_play_and_pause_and_the_live_region_that_waits(self, page: Page, alone: Callable) -> None:
        page.clock.install(time=0)
        alone("a")
        button, live = part(page, "a").locator(".lx-play"), part(page, "a").locator("[aria-live=polite]")
        put_at(page, "a", 0)
        assert button.get_attribute("aria-label") == "Play through λ"
        button.click()
        assert button.get_attribute("aria-label") == "Pause"
        page.wait_for_function("Number(document.querySelector('#a .lx-slide input').value) >= 2")
        button.click()
        stopped = slider(page, "a").input_value()
        page.clock.run_for(2000)
        assert slider(page, "a").input_value() == stopped
        put_at(page, "a", L - 3)
        button.click()
        page.clock.run_for(2000)
        assert button.get_attribute("aria-label") == "Play through λ"
        assert int(slider(page, "a").input_value()) == L - 1
        page.clock.pause_at(600_000)
        before = live.inner_text()
        for index in (24, 25):
            slider(page, "a").evaluate(MOVE, index)
            page.clock.run_for(300)
            assert live.inner_text() == before
        page.clock.run_for(300)
        text = live.inner_text()
        assert text.startswith("λ = 1. ")
        assert all(note in text for note in part(page, "a").locator(".lx-note").all_inner_texts())


class TestNumbers:
    """What panels say is what Python says."""

    @pytest.mark.parametrize("i", [0, 22, 30])
    def test_fit_curves_weights_field_pixels(self, standing: Page, i: int) -> None:
        put_at(standing, "a", i)
        fit, curves, hist, field = notes(standing, "a")
        d = DATA
        rms = math.sqrt(np.mean((d.fits[i] - np.sin(3 * d.x)) ** 2))
        assert numbers(fit) == pytest.approx([rms], rel=6e-3, abs=1e-5)
        best = LAMS[d.valid.mean(axis=1).argmin()]
        wanted = [d.train[i].mean(), d.valid[i].mean(), best]
        assert numbers(curves)[:3] == pytest.approx(wanted, rel=6e-3)
        assert numbers(hist) == [d.zeros[i], 900, 0]
        assert part(standing, "a").locator("svg text", has_text=re.compile(rf"^{d.zeros[i]}$")).count() >= 1
        assert field == f"Note {i}."
        put_at(standing, "e", i)
        means = [d.pixels[i][d.marks].mean(), d.pixels[i][~d.marks].mean()]
        assert numbers(notes(standing, "e")[1]) == pytest.approx(means, rel=6e-3)

    def test_pixels_share_a_scale_and_crosses_stand_on_the_marked_ones(self, standing: Page) -> None:
        panel = part(standing, "e").locator(".lx-panel").last
        for i in (0, L - 1):
            put_at(standing, "e", i)
            shades = panel.locator("rect.pixel").evaluate_all(
                "a => a.map(e => +e.getAttribute('fill-opacity'))"
            )
            np.testing.assert_allclose(shades, DATA.pixels[i].ravel() / DATA.pixels.max(), atol=6e-4)
        at = panel.evaluate("""e => { const mid = b => [b.x + b.width / 2, b.y + b.height / 2];
            return [mid(e.querySelector('.pixel').getBBox()),
                    e.querySelector('path.cross').getAttribute('d')] }""")
        x, y = (float(v) for v in re.findall(r"[\d.]+", at[1])[:2])
        half = float(re.search(r"l([\d.]+)", at[1])[1]) / 2
        assert [x + half, y + half] == pytest.approx(at[0], abs=0.2)  # pixel 0 is marked
        assert len(re.findall("M", at[1])) == DATA.marks.sum()

    @pytest.mark.parametrize("i", [1, 16, 31])
    def test_paths_and_bars_count_exact_zeros(self, standing: Page, i: int) -> None:
        put_at(standing, "b", i)
        c = DATA.coefs[i - 1]
        n, true, noise = (int((part != 0).sum()) for part in (c, c[:4], c[4:]))
        paths, bars, accuracy = notes(standing, "b")
        told = "All 12 coefficients are nonzero, none is exactly 0."
        if n < 12:
            told = f"{n} of 12 coefficients are nonzero, {12 - n} exactly 0."
        assert bars == told
        groups = f" (true {true} of 4, noise {noise} of 8), " if n < 12 else ", "
        assert paths == told.replace(", ", groups, 1) + f" Note {i}."
        assert numbers(accuracy) == pytest.approx([100 * np.linspace(0.5, 0.97, L + 1)[i]], rel=6e-3)

    @pytest.mark.parametrize("i", [0, 5, 20, 24, 30])
    def test_geometry(self, standing: Page, i: int) -> None:
        put_at(standing, "c", i)
        ridge, lasso, box, all_three = notes(standing, "c")
        lam = GEOMETRY_LAMS[i]
        r, s, w = (solve(HESSIAN, W_STAR, lam) for solve in (ridge_2d, lasso_2d, box_2d))
        for text, solution in ((ridge, r), (lasso, s), (box, w)):
            assert numbers(text)[:2] == pytest.approx(solution, rel=6e-3)
        walls = int((np.abs(w) * lam > 1 - 1e-12).sum())
        assert ("no box" if i == 0 else ("inside its box", "w₁ at a wall", "a corner")[walls]) in box
        assert all_three == f"{ridge} {lasso} {box}"
        zeros = {0: "no weight is 0", 1: "is exactly 0", 2: "w₁ and w₂ are exactly 0"}[int((s == 0).sum())]
        assert zeros in lasso
        assert "no weight is 0" in ridge


class TestHeatmap:
    @pytest.mark.parametrize("i", [0, 6, 13])
    def test_readout_frame_and_ring(self, standing: Page, i: int) -> None:
        put_at(standing, "f", i)
        z = DATA.heat
        bi, br = np.unravel_index(z.argmax(), z.shape)
        r = int(z[i].argmax())
        values = [HEAT_ROWS[r], z[i, r], *([HEAT_LAMS[bi], HEAT_ROWS[br], z[bi, br]] if i != bi else [])]
        assert numbers(notes(standing, "f")[0]) == pytest.approx(values, rel=6e-3)
        x = standing.evaluate("""() => { const panel = document.querySelector('#f .lx-panel');
            const mid = e => { const r = e.getBoundingClientRect();
                return [r.x + r.width / 2, r.y + r.height / 2] };
            return { frame: mid(panel.querySelector('.frame.over')),
                     ring: mid(panel.querySelector('.halo-ring')),
                     cells: [...panel.querySelectorAll('.lx-stage rect')].slice(0, 70).map(mid) } }""")
        assert x["frame"][0] == pytest.approx(x["cells"][5 * i][0], abs=1.5)
        assert x["ring"] == pytest.approx(x["cells"][5 * i + r], abs=1.5)

    def test_numbers_in_cells_can_be_read_on_their_colour(self, standing: Page) -> None:
        pairs = standing.evaluate("""() => [...document.querySelectorAll('#f .lx-panel:last-child svg text')]
            .filter(t => t.style.fill && t.previousElementSibling.tagName === 'rect')
            .map(t => [t.textContent, t.style.fill, t.previousElementSibling.getAttribute('fill')])""")
        assert [float(t) for t, *_ in pairs] == pytest.approx(1 - DATA.heat.ravel(), rel=6e-3)
        for _, front, back in pairs:
            assert contrast(from_css(front), from_css(back.replace(",", ", "))) >= 4.5, back


RUN = {"lr": 0.1, "n": 1000, "batch_size": 50, "epochs": 50, "momentum": 0.9, "schedule": "cosine"}
RUN |= {"optimizer": "sgd", "fan_in": None}
# What the calculator makes of pairs of a λ and a run, without its form.
PLANS = """async ([source, plans]) => {
  const blob = new Blob([source, '; export { runOf, planOf, decay, ELSEWHERE }'], {type: 'text/javascript'});
  const m = await import(URL.createObjectURL(blob));
  return plans.map(([lam, given]) => { const run = m.runOf(given);
    return [Object.values(m.planOf(lam, run)), [...m.decay(run.rates, lam, run.momentum)],
            m.ELSEWHERE[given.optimizer].map(([, name, f]) => [name, f(lam, run)])] }) }"""


def drawn_plans() -> list[tuple[float, dict]]:
    """Runs at the limits of what is allowed and of what is warned of, and sixty at random."""
    draw, adamw = np.random.default_rng(0), {"optimizer": "adamw", "fan_in": 64}
    plans = [(0.0, {"epochs": 1e-3}), (0.01, {"n": 50}), (0.1, {"epochs": 0.125}), (0.0, adamw), (8.0, adamw)]
    plans += [(8.1, adamw), *((lam, {"momentum": 0.0, "schedule": "constant"}) for lam in (10.0, 20.0))]
    for _ in range(60):
        n, choose = int(draw.integers(1, 2000)), lambda *values: values[draw.integers(len(values))]
        run = {"lr": 10 ** draw.uniform(-4, 0.5), "n": n, "epochs": 10 ** draw.uniform(-1, 1.5)}
        run |= {"batch_size": int(draw.integers(-(-n // 50), n + 1)), "fan_in": choose(None, n % 900 + 1)}
        run |= {"momentum": choose(0, 0.5, 0.9), "optimizer": choose("sgd", "adamw")}
        plans.append((10 ** draw.uniform(-6, 2), run | {"schedule": choose("constant", "cosine", "linear")}))
    return [(lam, RUN | run) for lam, run in plans]


class TestCalculator:
    """The browser computes; l2lab.budget, which is compared with torch, says what must come out."""

    def test_plans_are_those_of_python_warning_by_warning(self, standing: Page) -> None:
        plans, warned = drawn_plans(), set()
        answers = standing.evaluate(PLANS, [LambdaExplorer._esm, plans])
        for (lam, run), (told, left, elsewhere) in zip(plans, answers, strict=True):
            plan = decay_plan(lam, **run)
            assert told[:-1] == pytest.approx(plan[:-1], rel=1e-9), (lam, run)
            for ours, its in zip(plan.warnings, told[-1], strict=True):
                words = ([w for w in text.split() if not re.search(r"\d", w)] for text in (ours, its))
                assert next(words) == next(words)
                assert numbers(its) == pytest.approx(numbers(ours), rel=6e-3)
                warned.add(ours[:12])
            context = {key: run[key] for key in ("n", "batch_size", "lr")}
            for name, value in elsewhere:
                wanted = convert(lam, run["optimizer"], name, **context) if name else plan.box
                assert value == pytest.approx(wanted, rel=1e-12), name
            rest = {key: run[key] for key in ("lr", "momentum", "optimizer")}
            if lam < decay_limits(**rest)[1]:
                share = np.abs(remaining_share(lam, steps=plan.steps, schedule=run["schedule"], **rest))
                largest = np.maximum.accumulate(share[::-1])[::-1]  # from a step on
                np.testing.assert_allclose(left, largest, rtol=1e-8, atol=1e-50)
        assert len(warned) == 5

    def told(self, page: Page) -> str:
        settle(page)
        return part(page, "g").locator(".lx-results").inner_text()

    def test_a_plan_its_timescale_and_the_link_to_both(self, alone: Callable, url: str) -> None:
        page = alone("g")
        form, run = part(page, "g").locator(".lx-form"), RUN | {"n": 200, "batch_size": 30, "fan_in": 90}
        form.get_by_label("Optimizer").select_option("adamw")
        for label, value in (("Batch size", 30), ("Training rows", 200), ("Inputs", 90), ("λ", 12.3)):
            form.get_by_label(label, exact=label == "λ").fill(str(value))
        assert "tight: where AdamW comes to rest, no weight is larger than 0.0813" in self.told(page)
        form.get_by_label("Optimizer").select_option("sgd")
        form.get_by_label("τ, in epochs").fill("4")
        lam = float(f"{lam_of_timescale(4, 0.1, 200, 30):.4g}")
        plan, seen, field = decay_plan(lam, **run), self.told(page), form.get_by_label("λ", exact=True)
        wanted = [plan.steps, 7, plan.timescale, 4, plan.budget, 100 * plan.share_left, 1, 1000]
        wanted.append(lam_needed(1e-3, 0.1, plan.steps, 0.9, "cosine"))
        assert numbers(seen)[:9] == pytest.approx(wanted, rel=6e-3)
        assert (readout(page, "g"), float(field.input_value())) == (f"λ = {lam:.3g}", lam)
        address = f"#g:lam={lam:g},n=200,batch_size=30,fan_in=90"
        page.wait_for_function("address => location.hash === address", arg=address)
        page.goto("about:blank")
        open_page(page, f"{url}/g.html{address}", 1)
        assert self.told(page) == seen
        slider(page, "g").press("ArrowRight")
        settle(page)
        assert float(field.input_value()) in HEAT_LAMS.round(6)
        page.evaluate("location.hash = 'g:lam=0.01,n=1e9,batch_size=1,lr=-3,schedule=x'")  # is not valid
        page.wait_for_function("document.querySelector('.lx-results dd')?.innerText.startsWith('1,000, 20')")

    def test_what_is_not_valid_is_said_and_the_plan_stays(self, standing: Page) -> None:
        form = part(standing, "g").locator(".lx-form")
        wrong, good = form.locator(".lx-wrong"), self.told(standing)
        for label, value, before in (
            ("Learning rate", "-1", "0.1"), ("Learning rate", "", "0.1"), ("Epochs", "1e6", "50"),
            ("Batch size", "2.5", "50"), ("Batch size", "1001", "50"), ("Momentum", "1", "0.9"),
        ):  # fmt: skip
            field = form.get_by_label(label, exact=True)
            field.fill(value)
            assert re.match(rf"{label} must be .*Shown is the last valid plan\.$", wrong.inner_text())
            assert (field.get_attribute("aria-invalid"), self.told(standing)) == ("true", good)
            field.fill(before)
            assert (field.get_attribute("aria-invalid"), wrong.inner_text()) == ("false", "")
        form.get_by_label("Momentum").fill("")
        form.get_by_label("Optimizer").select_option("adamw")  # which has no momentum
        assert (form.get_by_label("Momentum").is_disabled(), wrong.inner_text()) == (True, "")
        form.get_by_label("Optimizer").select_option("sgd")
        assert wrong.inner_text().startswith("Momentum must be")
        form.get_by_label("Momentum").fill("0.9")


class TestGeometry:
    def test_drag_and_keys_move_the_optimum_in_all_panels(self, alone: Callable) -> None:
        page = alone("c")
        knobs = part(page, "c").locator(".lx-knob")

        def after(*keys: str) -> list[float]:
            for key in keys:
                knobs.first.press(key)
            settle(page)
            return numbers(knobs.first.get_attribute("aria-valuetext"))

        before = drawings(page, "c")
        knobs.first.scroll_into_view_if_needed()
        box = knobs.first.bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x - 60, y + 40, steps=6)
        page.mouse.up()
        w = np.array(after())
        assert len(set(knobs.evaluate_all("a => a.map(e => e.getAttribute('aria-valuetext'))"))) == 1
        assert np.all(w < W_STAR)
        assert all(p != q for p, q in zip(before, drawings(page, "c"), strict=True))
        lam = GEOMETRY_LAMS[int(slider(page, "c").input_value())]
        for text, solve in zip(notes(page, "c")[1:3], (lasso_2d, box_2d), strict=True):
            assert numbers(text)[:2] == pytest.approx(solve(HESSIAN, w, lam), abs=0.02)
        assert after("Home") == [1.2, 0.5]
        moved = [1.2 - 0.084, 0.5 - 0.168]
        assert after("ArrowLeft", "ArrowDown", "ArrowDown") == pytest.approx(moved, abs=0.006)
        assert after("Home", *8 * ["ArrowRight"])[0] == pytest.approx(1.68)  # stays inside


class TestAddress:
    def test_what_is_read_links_copied_ones_and_anchors(self, page: Page, url: str, said) -> None:
        open_page(page, f"{url}/index.html#b:lam=0.03;a:lam=0.00011,x=1;c:lam=0,w=-0.5:99")
        assert [readout(page, name) for name in "bac"] == ["λ = 0.0251", "λ = 10⁻⁴", "λ = 0"]
        assert abs(part(page, "b").bounding_box()["y"] - 70) < 80  # scrolled to the first one named
        knob = part(page, "c").locator(".lx-knob").first
        assert numbers(knob.get_attribute("aria-valuetext")) == pytest.approx([-0.5, 1.68])  # cut
        for text in ("", "a:lam=", "a:lam=-1", "%E0%A4%A", "a:;;=", "zz:lam=1", "a:lam=nan"):
            page.evaluate("text => { location.hash = text }", text)
            settle(page)
            assert readout(page, "a") == "λ = 10⁻⁴", text
        page.evaluate("location.hash = 'c:lam=1,w=1:x'")
        settle(page)
        assert numbers(knob.get_attribute("aria-valuetext")) == pytest.approx([-0.5, 1.68])
        page.get_by_text("set λ = 0.1").click()
        settle(page)
        assert readout(page, "b") == "λ = 0.1"
        assert part(page, "b").bounding_box()["y"] < 300
        page.get_by_text("go to the heading").click()
        top = "document.querySelector('#heading-b').getBoundingClientRect().y"
        page.wait_for_function(f"Math.abs({top}) < 30")
        assert page.evaluate("location.hash") == "#heading-b"
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        put_at(page, "a", 0)
        part(page, "a").locator(".lx-copy").click()
        page.wait_for_function("document.querySelector('#a .lx-copy').innerText === 'Link copied'")
        assert "#a:lam=0.00001" in page.evaluate("navigator.clipboard.readText()")


class TestLook:
    def test_theme_is_followed_live_and_print_is_light(self, standing: Page) -> None:
        page = standing
        get = """() => [getComputedStyle(document.querySelector('#a')).backgroundColor,
                        document.querySelector('#a canvas').toDataURL()]"""
        light = page.evaluate(get)
        page.evaluate("document.documentElement.dataset.theme = 'dark'")
        settle(page)
        dark = page.evaluate(get)
        assert (light[0], dark[0]) == ("rgb(255, 255, 255)", "rgb(20, 24, 30)")
        assert light[1] != dark[1]
        page.emulate_media(media="print")
        assert not part(page, "a").locator(".lx-play").is_visible()
        assert part(page, "a").locator(".lx-stage").first.is_visible()
        assert part(page, "a").locator(".lx-bar output").is_visible()
        style = "getComputedStyle(document.querySelector('#a')).getPropertyValue('--lx-1')"
        assert page.evaluate(style) == "#0072b2"
        page.emulate_media(media="screen")
        page.evaluate("document.documentElement.dataset.theme = 'light'")
        settle(page)
        assert page.evaluate(get) == light

    def test_nothing_is_cut_off_and_labels_do_not_touch(self, standing: Page) -> None:
        page = standing
        for width in (320, 1280):
            page.set_viewport_size({"width": width, "height": 900})
            page.wait_for_function("""() => [...document.querySelectorAll('.lx-stage > svg')]
                .every(e => Math.abs(e.viewBox.baseVal.width - e.parentElement.clientWidth) < 1)""")
            settle(page)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            outside = page.evaluate("""() =>
                [...document.querySelectorAll('.lx-stage > svg')].flatMap(svg => {
                const box = svg.getBoundingClientRect();
                return [...svg.querySelectorAll('text')].filter(t => t.textContent).filter(t => {
                    const r = t.getBoundingClientRect();
                    return r.left < box.left - 2 || r.right > box.right + 2
                        || r.top < box.top - 2 || r.bottom > box.bottom + 2;
                }).map(t => t.textContent); })""")
            assert outside == [], width
            small = page.evaluate("""() =>
                [...document.querySelectorAll('.lx :is(button, input, select, .lx-knob)')]
                .filter(e => Math.min(e.getBoundingClientRect().width, e.getBoundingClientRect().height) < 24)
                .map(e => e.className || e.type)""")
            assert small == [], width
            touching = page.evaluate("""() => [...document.querySelectorAll('svg, .lx-ticks')].flatMap(g => {
                const shown = [...g.querySelectorAll('text.tick, span')].filter(e =>
                    !e.getAttribute('transform') && e.textContent
                    && getComputedStyle(e).visibility !== 'hidden');
                const all = shown.map(e => [e.textContent, e.getBoundingClientRect()]);
                const meet = (r, q) => r.left < q.right && q.left < r.right
                    && r.top + 3 < q.bottom && q.top + 3 < r.bottom;
                return all.flatMap(([t, r], i) =>
                    all.slice(i + 1).filter(u => meet(r, u[1])).map(u => [t, u[0]])); })""")
            assert touching == [], width
            grid = "getComputedStyle(document.querySelector('#a .lx-panels')).gridTemplateColumns"
            assert len(page.evaluate(grid).split()) == (2 if width >= 768 else 1)

    @pytest.mark.parametrize("theme", ["light", "dark"])
    def test_axe_finds_nothing_and_focus_is_seen(self, standing: Page, theme: str) -> None:
        standing.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
        settle(standing)
        for selector in ("#a .lx-play", "#a .lx-slide input", "#a .lx-copy", "#c .lx-knob", "#g select"):
            e = standing.locator(selector).first
            e.focus()
            standing.keyboard.press("Shift")  # a key makes the focus visible
            assert e.evaluate("e => parseFloat(getComputedStyle(e).outlineWidth)") >= 2, selector
        found = faults(standing)
        standing.evaluate("document.documentElement.dataset.theme = 'light'")
        assert found == []


class TestHosts:
    """With a kernel: controls, messages, errors; the address is not touched."""

    @pytest.fixture
    def hosted(self, page: Page, url: str, said: list[str], explorers: list[LambdaExplorer]) -> Page:
        page.goto(f"{url}/host.html")
        e = explorers[3]
        state = {k: getattr(e, k) for k in e.keys if k not in ("layout", "blob", "tabbable", "tooltip")}
        page.evaluate(HOST, [state, base64.b64encode(e.blob).decode()])
        settle(page)
        return page

    def test_controls_errors_and_the_last_wish_while_busy(self, hosted: Page) -> None:
        assert hosted.locator(".lx-copy, .lx-hint").count() == 0
        hosted.get_by_label("noise").select_option("0.5")
        assert hosted.evaluate("sent.at(-1).choice") == {"noise": 0.5, "width": 8}
        hosted.evaluate("model.set('error', 'RuntimeError: <b>no</b>')")
        alert = hosted.locator("[role=alert]")
        assert alert.inner_text() == "RuntimeError: <b>no</b>"
        hosted.evaluate("model.set('error', '')")
        assert not alert.is_visible()
        hosted.evaluate("model.set('busy', true)")
        assert hosted.locator(".lx").get_attribute("aria-busy") == "true"
        assert hosted.locator(".lx-status").inner_text() == "computing …"
        for control, option in (("noise", "0"), ("width", "16"), ("noise", "0.5"), ("noise", "0")):
            hosted.get_by_label(control).select_option(option)
        assert hosted.evaluate("sent.length") == 1
        hosted.evaluate("model.set('busy', false)")
        assert hosted.evaluate("sent.slice(1).map(m => m.choice)") == [{"noise": 0.0, "width": 16}]
        assert hosted.locator(".lx-status").inner_text() == ""

    def test_a_run_outlives_new_panels_and_keys_do_not_reach_the_notebook(self, hosted: Page) -> None:
        hosted.evaluate("window.leaked = []; document.addEventListener('keydown', e => leaked.push(e.key))")
        fresh = LambdaExplorer(
            LAMS[:9], [curves_panel({"test": LAMS[:9]}), calculator_panel()], name="x", alt="x" * 20
        )
        data = [fresh.lams, fresh.panels, base64.b64encode(fresh.blob).decode()]
        for epochs in (50, 20):
            hosted.evaluate(
                """([lams, panels, blob]) => {
                   model.set('index', 8); model.set('lams', lams); model.set('panels', panels);
                   const bytes = Uint8Array.from(atob(blob), c => c.charCodeAt(0));
                   model.set('blob', new DataView(bytes.buffer)) }""",
                data,
            )
            hosted.wait_for_function("document.querySelectorAll('.lx-form').length === 1")
            settle(hosted)
            note = hosted.locator(".lx-note").first.inner_text()
            assert numbers(note) == [pytest.approx(LAMS[8], rel=6e-3)]
            field = hosted.get_by_role("spinbutton", name="Epochs", exact=True)
            assert field.input_value() == str(epochs)
            hosted.set_viewport_size({"width": 500, "height": 800})  # the form stays as it is
            settle(hosted)
            assert hosted.locator(".lx-form").count() == 1
            field.fill("2")
            field.press("End")
            field.press("0")
        assert hosted.evaluate("leaked") == []  # where digits are commands
        hosted.locator(".lx-slide input").press("Home")
        assert hosted.evaluate("sent.at(-1).index") == 0
        assert hosted.evaluate("leaked.length + location.hash.length") == 0

    def test_theme_of_each_host_ids_of_two_copies_and_cleanup(self, hosted: Page) -> None:
        for site, lab, colab, system, dark in (
            (None, "false", None, "light", True), ("dark", "true", None, "light", False),
            ("dark", None, None, "light", True), (None, None, None, "light", False),
            (None, None, "dark", "light", True), (None, None, None, "dark", True),
        ):  # fmt: skip
            hosted.emulate_media(color_scheme=system)
            hosted.evaluate(
                """([site, lab, colab]) => {
                   const put = (e, k, v) => v ? e.setAttribute(k, v) : e.removeAttribute(k);
                   put(document.documentElement, 'data-theme', site);
                   put(document.documentElement, 'theme', colab);
                   put(document.body, 'data-jp-theme-light', lab); }""",
                [site, lab, colab],
            )
            settle(hosted)
            assert ("dark" in hosted.locator(".lx").get_attribute("class")) is dark
        hosted.evaluate("""async () => { const source = URL.createObjectURL(new Blob([model.get('_esm')],
            {type: 'text/javascript'})), el = document.createElement('div'); document.body.append(el);
            window.other = (await import(source)).default.render({model, el}); }""")
        settle(hosted)
        ids = hosted.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
        assert len(ids) == len(set(ids)) > 4
        assert hosted.evaluate("listeners()") > 0
        hosted.evaluate("other()")
        hosted.evaluate("cleanup()")
        assert hosted.evaluate("listeners()") == 0
