"""Contrast of colours, as the Web Content Accessibility Guidelines define it."""

from __future__ import annotations

import re
from collections.abc import Sequence

# WCAG 1.4.11: what one must see to use or understand something, against what is beside it.
LEAST_CONTRAST = 3.0


def from_hex(colour: str) -> list[float]:
    """Red, green and blue, from 0 to 1, of a colour like ``#0072b2``."""
    return [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]


def from_css(colour: str) -> list[float]:
    """Red, green and blue, from 0 to 1, of a colour as a browser reports it."""
    found = re.fullmatch(r"rgba?\(([\d.]+), ([\d.]+), ([\d.]+)(?:, [\d.]+)?\)", colour)
    assert found, f"not a colour in red, green and blue: {colour}"
    return [float(part) / 255 for part in found.groups()]


def luminance(rgb: Sequence[float]) -> float:
    """Relative luminance of a colour with parts from 0 to 1."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: Sequence[float], other: Sequence[float]) -> float:
    """Contrast of two colours: 1 for equal ones, 21 for black and white."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)
