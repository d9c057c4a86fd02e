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
from l2lab.explore import PALETTE

BOOK = Path(__file__).resolve().parents[1] / "book"
EXPLORE = BOOK / "l2lab" / "explore"
# Lines are thin and lie apart, so that several just noticeable differences are needed. Where two colours are
# closer than that for somebody, another cue must tell the curves apart.
LEAST_DIFFERENCE = 5.0
KINDS = ("normal", "protanomaly", "deuteranomaly", "tritanomaly")
# Of the theme, of the explorer by itself, and of what lies in a box of the page.
GROUNDS = {"light": ["#ffffff", "#f3f4f5"], "dark": ["#121212", "#14181e", "#222832"]}


def explorer_colours(theme: str) -> dict[str, str]:
    """The explorer's colours, by name, as its style sheet has them."""
    text = (EXPLORE / "explorer.css").read_text("utf-8")
    selector = {"light": ".lx", "dark": ".lx.dark"}[theme]
    block = re.search(rf"^{re.escape(selector)} \{{(.*?)^\}}", text, re.S | re.M)[1]
    return dict(re.findall(r"--lx-(\d|muted): (#[0-9a-f]{6});", block))


def panels() -> list[dict]:
    """All panels with coloured series in the stored widgets."""
    files = [json.loads(file.read_text("utf-8")) for file in sorted(BOOK.glob("results/widgets/*.json"))]
    states = [model["state"] for file in files for model in file["state"].values()]
    return [panel for state in states for panel in state.get("panels", []) if "colors" in panel]


def seen_as(colour: str, kind: str) -> np.ndarray:
    """A colour as seen with a deficiency."""
    rgb = np.array(from_hex(colour))
    space = {"name": "sRGB1+CVD", "cvd_type": kind, "severity": 100}
    return rgb if kind == "normal" else np.clip(cspace_convert(rgb, space, "sRGB1"), 0, 1)


def difference(one: str, other: str, kind: str) -> float:
    """Distance of two colours for somebody."""
    return float(
        deltaE(seen_as(one, kind), seen_as(other, kind), input_space="sRGB1", uniform_space="CAM02-UCS")
    )


def figure_colour(colour: str, theme: str) -> str:
    """A colour of a figure as a page of this theme shows it."""
    return colour if theme == "light" else to_hex(counterparts(colour)[0])


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_curves_stand_out_from_their_ground_and_letters_can_be_read(theme):
    for name, colour in plots.COLORS.items():
        seen, ground = figure_colour(colour, theme), {"light": "#ffffff", "dark": GROUND}[theme]
        assert contrast(from_hex(seen), from_hex(ground)) >= LEAST_CONTRAST, name
    colours = explorer_colours(theme)
    assert theme == "dark" or [colours[k] for k in "123456"] == list(PALETTE.values())
    for ground, (name, colour) in itertools.product(GROUNDS[theme], colours.items()):
        assert contrast(from_hex(colour), from_hex(ground)) >= 4.5, (name, ground)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_used_together_in_a_widget_differ_for_everybody(theme, kind):
    colours = explorer_colours(theme)
    together = {pair for panel in panels() for pair in itertools.combinations(sorted(panel["colors"]), 2)}
    assert together, "no panel with two series: does the test still read the widgets?"
    for one, other in sorted(together):
        assert difference(colours[str(one)], colours[str(other)], kind) >= LEAST_DIFFERENCE, (one, other)


def test_series_of_a_panel_differ_in_their_dashes_too():
    """In grey the explorer's colours are nearly one, so that curves must differ otherwise."""
    base = (EXPLORE / "js" / "base.js").read_text("utf-8")
    longest = max(len(panel["names"]) for panel in panels())
    told_apart = json.loads(re.search(r"^const DASH = (\[.*?\]);", base, re.M)[1])[:longest]
    assert len(set(told_apart)) == longest
