"""The colours of curves as people with a colour vision deficiency see them, and against their ground.

Simulated after Machado, Oliveira and Fernandes (2009), at full severity, and compared in CAM02-UCS, a space
in which a distance of about 1 is just noticed between patches that touch.
"""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest
from colorspacious import cspace_convert, deltaE
from matplotlib.colors import to_hex

from colours import LEAST_CONTRAST, contrast, from_hex
from l2lab import plots
from l2lab.dark import GROUND, counterparts

BOOK = Path(__file__).resolve().parents[1] / "book"
EXPLORE = BOOK / "l2lab" / "explore"
# Lines are thin and lie apart, so that several just noticeable differences are needed. Where two colours are
# closer than that for somebody, another cue must tell the curves apart.
LEAST_DIFFERENCE = 5.0
KINDS = ("normal", "protanomaly", "deuteranomaly", "tritanomaly", "grey")
WHITE = "#ffffff"
GROUNDS = {"light": [WHITE], "dark": ["#121212", "#14181e"]}  # of the theme, and of the explorer by itself


def explorer_colours(theme: str) -> dict[int, str]:
    """The explorer's colours, by number, as its style sheet has them."""
    text = (EXPLORE / "explorer.css").read_text("utf-8")
    selector = {"light": ".lx", "dark": ".lx.dark"}[theme]
    block = re.search(rf"^{re.escape(selector)} \{{(.*?)^\}}", text, re.S | re.M)[1]
    return {int(number): colour for number, colour in re.findall(r"--lx-(\d): (#[0-9a-f]{6});", block)}


def dashes() -> list[str]:
    """The dashes of the explorer's curves, in the order in which they take them."""
    listed = re.search(r"^const DASH = (\[.*?\]);", (EXPLORE / "js" / "base.js").read_text("utf-8"), re.M)[1]
    return json.loads(listed)


def panels() -> list[tuple[str, dict]]:
    """All panels with coloured series in the stored widgets, with the name of their chapter."""
    found = []

    def walk(value, chapter: str) -> None:
        if isinstance(value, dict):
            if "colors" in value and "names" in value:
                found.append((chapter, value))
            for part in value.values():
                walk(part, chapter)
        elif isinstance(value, list):
            for part in value:
                walk(part, chapter)

    for file in sorted(BOOK.glob("results/widgets/*.json")):
        walk(json.loads(file.read_text("utf-8")), file.name.partition(".")[0])
    return found


def seen_as(colour: str, kind: str) -> np.ndarray:
    """A colour as seen with a deficiency, or on a grey print."""
    rgb = np.array(from_hex(colour))
    if kind == "normal":
        return rgb
    if kind == "grey":
        lightness = cspace_convert(rgb, "sRGB1", "JCh")
        lightness[1] = 0
        return np.clip(cspace_convert(lightness, "JCh", "sRGB1"), 0, 1)
    space = {"name": "sRGB1+CVD", "cvd_type": kind, "severity": 100}
    return np.clip(cspace_convert(rgb, space, "sRGB1"), 0, 1)


def difference(one: str, other: str, kind: str) -> float:
    """Distance of two colours for somebody."""
    return float(
        deltaE(seen_as(one, kind), seen_as(other, kind), input_space="sRGB1", uniform_space="CAM02-UCS")
    )


def figure_colour(colour: str, theme: str) -> str:
    """A colour of a figure as a page of this theme shows it."""
    return colour if theme == "light" else to_hex(counterparts(colour)[0])


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", plots.COLORS)
def test_a_curve_of_a_figure_stands_out_from_its_ground(name, theme):
    colour = figure_colour(plots.COLORS[name], theme)
    assert contrast(from_hex(colour), from_hex(WHITE if theme == "light" else GROUND)) >= LEAST_CONTRAST


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_curve_of_the_explorer_stands_out_from_its_ground(theme):
    for ground in GROUNDS[theme]:
        for number, colour in explorer_colours(theme).items():
            assert contrast(from_hex(colour), from_hex(ground)) >= LEAST_CONTRAST, (number, ground)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_small_letters_of_the_explorer_can_be_read(theme):
    text = (EXPLORE / "explorer.css").read_text("utf-8")
    muted = dict(zip(("light", "dark"), re.findall(r"--lx-muted: (#[0-9a-f]{6});", text)[:2], strict=True))
    for ground in GROUNDS[theme]:
        assert contrast(from_hex(muted[theme]), from_hex(ground)) >= 4.5


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("kind", KINDS)
def test_curves_of_figures_differ_in_colour_or_in_dash_and_marker(kind, theme):
    looks = list(plots._looks([f"curve {k}" for k in range(len(plots._CYCLE))]).values())
    assert len({look["color"] for look in looks}) == len(plots._CYCLE)
    for one, other in itertools.combinations(looks, 2):
        colours = [figure_colour(look["color"], theme) for look in (one, other)]
        by_colour = difference(*colours, kind) >= LEAST_DIFFERENCE
        by_shape = one["linestyle"] != other["linestyle"] and one["marker"] != other["marker"]
        assert by_colour or by_shape, (one, other)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "grey"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_used_together_in_a_widget_differ_for_everybody(theme, kind):
    colours = explorer_colours(theme)
    together = {pair for _, panel in panels() for pair in itertools.combinations(sorted(panel["colors"]), 2)}
    assert together, "no panel with two series: does the test still read the widgets?"
    for one, other in sorted(together):
        assert difference(colours[one], colours[other], kind) >= LEAST_DIFFERENCE, (one, other)


def test_series_of_a_panel_differ_in_their_dashes_too():
    """In grey the explorer's colours are nearly one, so that curves must differ otherwise."""
    longest = max(len(panel["names"]) for _, panel in panels())
    told_apart = dashes()[:longest]
    assert len(set(told_apart)) == longest
