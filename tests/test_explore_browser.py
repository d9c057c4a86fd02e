"""What the panels of the λ explorer draw and say, seen from a browser."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest

from colours import contrast, from_css
from explorer_page import (
    DATA,
    GEOMETRY_LAMS,
    HEAT_LAMS,
    HEAT_ROWS,
    HESSIAN,
    LAMS,
    W_STAR,
    L,
    alone,
    drawings,
    explorers,
    notes,
    numbers,
    open_page,
    part,
    put_at,
    readout,
    said,
    settle,
    slider,
    standing,
    url,
)
from l2lab.budget import decay_budget, decay_limits, lam_needed, remaining_share
from l2lab.explore import box_2d, lasso_2d, ridge_2d

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

__all__ = ["alone", "explorers", "said", "standing", "url"]  # fixtures


class TestStands:
    def test_widgets_replace_pictures(self, page: Page, url: str, said: list[str]) -> None:
        """With the compact state as with the full one; both look alike."""
        looks = []
        for name in ("index", "full"):
            open_page(page, f"{url}/{name}.html")
            assert not any(e.is_visible() for e in page.locator(".widget-fallback").all())
            looks.append([re.sub(r"lx-\w+-\d+", "", t) for n in "abcef" for t in drawings(page, n)])
        assert looks[0] == looks[1]

    def test_two_views_of_one_model_stay_in_step(self, page: Page, url: str, said: list[str]) -> None:
        open_page(page, f"{url}/twice.html", 2)
        page.locator(".lx-slide input").first.press("End")
        settle(page)
        assert page.locator(".lx-bar output").all_inner_texts() == ["λ = 10", "λ = 10"]
        ids = page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
        assert len(ids) == len(set(ids))

    def test_without_scripts_pictures_stay(self, browser: Browser, url: str) -> None:
        context = browser.new_context(java_script_enabled=False)
        page = context.new_page()
        page.goto(f"{url}/index.html")
        assert [e.is_visible() for e in page.locator(".widget-fallback img").all()] == 5 * [True]
        context.close()

    def test_a_broken_widget_and_a_foreign_one_keep_their_pictures(self, page: Page, url: str) -> None:
        errors: list[str] = []
        page.on("console", lambda m: m.type == "error" and errors.append(m.text))
        with page.expect_console_message(lambda m: "keep their picture" in m.text):  # said when all is done
            page.goto(f"{url}/broken.html")
        shown = [e.is_visible() for e in page.locator(".widget-fallback").all()]
        assert shown == [True, False, False, False, False, True]
        assert sum("broken on purpose" in text for text in errors) == 1


class TestSlider:
    @pytest.mark.parametrize("name", ["a", "b", "c", "e", "f"])
    def test_keys_change_readout_and_every_panel(self, standing: Page, name: str) -> None:
        put_at(standing, name, 4)
        before, text = drawings(standing, name), readout(standing, name)
        for _ in range(3):
            slider(standing, name).press("ArrowRight")
        settle(standing)
        assert slider(standing, name).input_value() == "7"
        assert readout(standing, name) != text
        assert all(x != y for x, y in zip(before, drawings(standing, name), strict=True))

    def test_readout(self, standing: Page) -> None:
        for name, index, text in (
            ("a", 0, "λ = 10⁻⁵"), ("a", 2, "λ = 2.51·10⁻⁵"), ("a", 17, "λ = 0.0251"), ("b", 0, "λ = 0"),
        ):  # fmt: skip
            put_at(standing, name, index)
            assert readout(standing, name) == text
        assert slider(standing, "a").get_attribute("aria-valuetext") == "λ = 0.0251"

    def test_many_moves_in_one_frame_are_drawn_once(self, standing: Page) -> None:
        put_at(standing, "a", 0)
        drawn = standing.evaluate("""async () => { let n = 0;
            const e = document.querySelector('#a .lx-slide input'), out = document.querySelector('#a output');
            new MutationObserver(() => n++).observe(out, {childList: true});
            for (let i = 1; i < 20; i++) { e.value = i; e.dispatchEvent(new Event('input', {bubbles: true})) }
            await new Promise(ok => requestAnimationFrame(() => requestAnimationFrame(ok)));
            return n }""")
        assert drawn == 1

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

    def test_play_and_pause(self, page: Page, alone: Callable[..., Page]) -> None:
        page.clock.install()
        alone("a")
        put_at(page, "a", 0)
        button = part(page, "a").locator(".lx-play")
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

    def test_less_motion_means_steps(self, page: Page, alone: Callable[..., Page]) -> None:
        page.emulate_media(reduced_motion="reduce")
        page.clock.install()
        alone("a")
        put_at(page, "a", 3)
        button = part(page, "a").locator(".lx-play")
        assert button.get_attribute("aria-label") == "Next λ"
        button.click()
        page.clock.run_for(2000)
        assert slider(page, "a").input_value() == "4"

    def test_live_region_waits_until_the_slider_rests(self, page: Page, alone: Callable[..., Page]) -> None:
        page.clock.install(time=0)
        alone("a")
        page.clock.pause_at(60_000)
        live = part(page, "a").locator("[aria-live=polite]")
        before = live.inner_text()
        for index in (24, 25):
            slider(page, "a").evaluate(
                "(e, i) => { e.value = i; e.dispatchEvent(new Event('input', {bubbles: true})) }", index
            )
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

    def test_picture_labels_tell_the_same(self, standing: Page) -> None:
        for name in "abcef":
            put_at(standing, name, 10)
            pictures = part(standing, name).locator("svg[role=img]")
            labels = pictures.evaluate_all("a => a.map(e => e.getAttribute('aria-label'))")
            assert all(n in t for t, n in zip(labels, notes(standing, name), strict=True))


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

    def test_a_click_on_a_column_sets_lambda(self, alone: Callable[..., Page]) -> None:
        page = alone("f")
        for i in (0, 9):
            part(page, "f").locator(".lx-panel").first.locator("svg rect").nth(5 * i + 2).click(force=True)
            assert int(slider(page, "f").input_value()) == i


class TestBudget:
    """The browser computes; l2lab.budget, which is compared with torch, says what must come out."""

    RUNS = (
        {"lr": 0.1, "steps": 1000, "momentum": 0.9, "schedule": "constant", "optimizer": "sgd"},
        {"lr": 0.03, "steps": 333, "momentum": 0.0, "schedule": "cosine", "optimizer": "sgd"},
        {"lr": 0.5, "steps": 2000, "momentum": 0.5, "schedule": "linear", "optimizer": "sgd"},
        {"lr": 0.01, "steps": 20000, "momentum": 0.9, "schedule": "cosine", "optimizer": "adamw"},
    )

    def choose(self, page: Page, run: dict) -> None:
        form = part(page, "f").locator(".lx-form")
        form.get_by_label("Schedule").select_option(run["schedule"])
        form.get_by_label("Optimizer").select_option("sgd")  # else momentum could not be filled
        for label in ("Learning rate", "Steps", "Momentum"):
            form.get_by_label(label).fill(str(run["lr" if label == "Learning rate" else label.lower()]))
        form.get_by_label("Optimizer").select_option(run["optimizer"])

    @pytest.mark.parametrize("run", RUNS, ids=lambda r: f"{r['optimizer']}-{r['schedule']}")
    def test_same_as_python(self, standing: Page, run: dict) -> None:
        self.choose(standing, run)
        limits = decay_limits(run["lr"], run["momentum"], run["optimizer"])
        for i in (0, 1, 5, 7, 9, 11, 13):
            lam = HEAT_LAMS[i]
            put_at(standing, "f", i)
            text = notes(standing, "f")[1]
            budget = re.search(r"^B = (\S+?)[:,] ", text)
            assert numbers(budget[1]) == pytest.approx([decay_budget(lam, **run)], rel=6e-3)
            need = re.search(r"in these steps: about (\S+?)[. ]?(?:$|\()", text)
            assert numbers(need[1]) == pytest.approx([lam_needed(1e-3, **run)], rel=6e-3)
            assert ("diverges" in text) == (lam >= limits[1])
            assert ("swings" in text) == (limits[0] < lam < limits[1])
            if lam >= limits[1]:
                continue
            share = np.abs(remaining_share(lam, **run))
            rule, left = re.search(r"e\^\(−B\) is (.+?); step by step (.+?) is left", text).groups()
            for told, value in ((rule, math.exp(-decay_budget(lam, **run))), (left, share[-1])):
                if value < 1e-30:
                    assert told == "less than 10⁻³⁰"
                else:
                    unit = 100 if "%" in told else 1
                    assert numbers(told)[0] / unit == pytest.approx(value, rel=6e-3)
            below = re.search(r"Below 10⁻³: (.+?); below 10⁻⁶: (.+?)\.", text).groups()
            largest = np.maximum.accumulate(share[::-1])[::-1]  # from a step on
            for level, told in zip((1e-3, 1e-6), below, strict=True):
                steps = np.flatnonzero(largest < level)
                assert told == (f"from step {steps[0]:,}" if len(steps) else "not within these steps")

    def test_values_stay_when_the_slider_moves_and_the_page_is_turned(self, alone: Callable) -> None:
        page = alone("f")
        form = part(page, "f").locator(".lx-form")
        form.get_by_label("Steps").fill("250")
        slider(page, "f").press("ArrowRight")
        page.set_viewport_size({"width": 500, "height": 800})
        page.wait_for_function("document.querySelector('#f .lx-stage > svg').viewBox.baseVal.width < 500")
        assert form.count() == 1
        assert form.get_by_label("Steps").input_value() == "250"
        assert "after 250 steps" in notes(page, "f")[1]

    def test_what_is_not_valid_is_said_and_the_drawing_stays(self, alone: Callable) -> None:
        page = alone("f")
        form = part(page, "f").locator(".lx-form")
        wrong, good = form.locator(".lx-wrong"), notes(page, "f")[1]
        for label, value in (
            ("Learning rate", "-1"), ("Learning rate", ""), ("Steps", "2.5"), ("Steps", "1e9"),
            ("Momentum", "1"),
        ):  # fmt: skip
            field = form.get_by_label(label)
            before = field.input_value()
            field.fill(value)
            assert label.lower() in wrong.inner_text().lower()
            assert wrong.inner_text().endswith("Drawn is the last valid run.")
            assert field.get_attribute("aria-invalid") == "true"
            assert notes(page, "f")[1] == good
            field.fill(before)
            assert wrong.inner_text() == ""
            assert field.get_attribute("aria-invalid") == "false"
        # AdamW has no momentum
        form.get_by_label("Momentum").fill("")
        form.get_by_label("Optimizer").select_option("adamw")
        assert form.get_by_label("Momentum").is_disabled()
        assert wrong.inner_text() == ""
        budget = decay_budget(HEAT_LAMS[7], 0.1, 1000, optimizer="adamw")
        assert numbers(notes(page, "f")[1])[0] == pytest.approx(budget, rel=6e-3)
        form.get_by_label("Optimizer").select_option("sgd")
        assert wrong.inner_text().startswith("Momentum must be")

    def test_line_ends_where_the_share_says(self, alone: Callable) -> None:
        page = alone("f")
        put_at(page, "f", 7)
        panel = part(page, "f").locator(".lx-panel").nth(1)
        levels = [e.get_attribute("d") for e in panel.locator(".level").all()]
        y3, y6 = (float(re.search(r"M\S+ ([\d.]+)H", level)[1]) for level in levels)
        end = float(panel.locator(".line.bold").get_attribute("d").split()[-1])
        share = abs(remaining_share(HEAT_LAMS[7], 0.1, 1000)[-1])
        assert -3 - 3 * (end - y3) / (y6 - y3) == pytest.approx(math.log10(share), abs=0.01)


class TestGeometry:
    def test_drag_moves_the_optimum_in_all_panels(self, alone: Callable) -> None:
        page = alone("c")
        knobs = part(page, "c").locator(".lx-knob")
        before = drawings(page, "c")
        knobs.first.scroll_into_view_if_needed()
        box = knobs.first.bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x - 60, y + 40, steps=6)
        page.mouse.up()
        settle(page)
        texts = knobs.evaluate_all("a => a.map(e => e.getAttribute('aria-valuetext'))")
        assert len(set(texts)) == 1
        w = np.array(numbers(texts[0]))
        assert np.all(w < W_STAR)
        assert all(p != q for p, q in zip(before, drawings(page, "c"), strict=True))
        lam = GEOMETRY_LAMS[int(slider(page, "c").input_value())]
        for text, solve in zip(notes(page, "c")[1:3], (lasso_2d, box_2d), strict=True):
            assert numbers(text)[:2] == pytest.approx(solve(HESSIAN, w, lam), abs=0.02)

    def test_keys_move_it_and_home_puts_it_back(self, alone: Callable) -> None:
        page = alone("c")
        knob = part(page, "c").locator(".lx-knob").first

        def after(*keys: str) -> list[float]:
            for key in keys:
                knob.press(key)
            settle(page)
            return numbers(knob.get_attribute("aria-valuetext"))

        moved = [1.2 - 0.084, 0.5 - 0.168]
        assert after("ArrowLeft", "ArrowDown", "ArrowDown") == pytest.approx(moved, abs=0.006)
        assert after("Home") == [1.2, 0.5]
        assert after(*8 * ["ArrowRight"])[0] == pytest.approx(1.68)  # stays inside

    def test_drawn_solutions_lie_on_their_bodies(self, standing: Page) -> None:
        put_at(standing, "c", 26)
        shown = """e => [e.querySelector('.ball').getAttribute('d'),
                         e.querySelector('.dot').getAttribute('transform')]"""
        ball, _, box, _ = (panel.evaluate(shown) for panel in part(standing, "c").locator(".lx-panel").all())
        left, cy, radius = map(float, re.match(r"M([\d.]+) ([\d.]+)a([\d.]+)", ball[0]).groups())
        px, py = map(float, re.findall(r"[\d.]+", ball[1]))
        assert math.hypot(px - left - radius, py - cy) == pytest.approx(radius, abs=0.3)
        left, right = map(float, re.match(r"M([-\d.]+) [-\d.]+H([-\d.]+)", box[0]).groups())
        assert float(re.findall(r"[\d.]+", box[1])[0]) == pytest.approx(right, abs=0.2)  # in the corner
        put_at(standing, "c", 22)
        now = part(standing, "c").locator(".lx-panel").nth(2).evaluate(shown)[0]
        wide = np.ptp([float(v) for v in re.match(r"M([-\d.]+) [-\d.]+H([-\d.]+)", now).groups()])
        assert wide / (right - left) == pytest.approx(GEOMETRY_LAMS[26] / GEOMETRY_LAMS[22], rel=0.01)
