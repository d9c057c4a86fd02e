"""Draw Pictograms-20 from the icon sets of the npm package @iconify/json: zip and table of authors.

The book never needs this: it reads the committed files. To make them again (105 MB to fetch), in this folder:

    npm pack @iconify/json@2.2.535 && tar xzf iconify-json-2.2.535.tgz && pip install resvg-py==0.5.0
    PYTHONPATH=../../.. python make_pictograms.py package more .

"more" is a folder with an unpacked npm package for each name under "sealed", "packages" in
make_pictograms_names.json. What an icon shows is taken from its published name; the names of each class, and
the icons that were found wrong by eye, are in that file.
"""

from __future__ import annotations

import collections
import csv
import hashlib
import io
import json
import re
import sys
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from l2lab.data.images import VOC_CLASSES, hold_out_groups

RULES = json.loads(Path(__file__).with_name("make_pictograms_names.json").read_text("utf-8"))
# A name of two classes belongs to the first.
CLASS = {name: label for label, names in reversed(RULES["names"].items()) for name in names}
LICENCES = {"MIT", "Apache-2.0", "ISC", "CC0-1.0", "CC-BY-4.0", "CC-BY-3.0", "BSD-3-Clause", "Unlicense"}
CATEGORIES_LEFT_OUT = {"Logos", "Programming"}  # logos show brands
FLAG_SETS = {"circle-flags", "flag", "flagpack", "cif"}
# These animals are drawn as such in emoji; elsewhere "ram" is memory and "turkey" a roast or a country.
EMOJI_FAMILIES = {"noto", "fluent-emoji", "twemoji", "emojione", "fxemoji", "openmoji"}
EMOJI_ANIMALS = {"ram", "chicken", "turkey", "calf", "goose", "hen", "rooster"}
SCOOTER_FAMILIES = {"solar", "ri"}  # whose "scooter" has an engine
MIN_DIFFERENCE = 0.045  # mean grey difference of two signatures that are no duplicates
PER_CLASS, PER_CLASS_AND_FAMILY, SEALED_PER_CLASS_AND_FAMILY = 100, 8, 4
TEST_FAMILIES, TEST_SHARE = 0.34, 0.30  # shares of the families and of the pictures
COLUMNS = "set,title,family,split,author,author_url,license,license_url,version,images"


class Icon(NamedTuple):
    """One icon of one set, and what its name says."""

    set: str
    name: str
    label: str
    base: str
    family: str
    box: tuple[float, float, float, float]  # left, top, width, height
    body: str
    coloured: bool


def base_name(name: str) -> str:
    """Strip from the name of an icon all that tells its style: ``outline-bus-front-24`` is ``bus-front``."""
    shorter = re.sub(r"-0[1-9]$", "", name)
    name = ""
    suffixes = sorted(RULES["suffixes"], key=len, reverse=True)
    while shorter != name:
        name = shorter
        found = (s for s in suffixes if name.endswith(s) and len(name) > len(s) + 1)
        shorter = name.removesuffix(next(found, ""))
        found = (p for p in RULES["prefixes"] if shorter.startswith(p) and len(shorter) > len(p) + 1)
        shorter = shorter.removeprefix(next(found, ""))
    return name


def family_of(icon_set: str) -> str:
    """Name the family of a set: sets of one hand, which must not be split between training and test."""
    found = (family for pattern, family in RULES["families"] if re.fullmatch(pattern, icon_set))
    return next(found, icon_set)


def is_wanted(icon: Icon) -> bool:
    """Tell whether an icon shows what its name says, as far as is known."""
    return not (
        icon.set in FLAG_SETS
        or icon.base in RULES["ambiguous"].get(icon.label, ())
        or icon.base in ("airport", "desk")
        or (icon.base in EMOJI_ANIMALS and icon.family not in EMOJI_FAMILIES)
        or (icon.base == "scooter" and icon.family not in SCOOTER_FAMILIES)
        or f"{icon.set}:{icon.name}" in RULES["bad"]
    )


def find_icons(
    iconify: Path, about_sets: dict[str, Any], licences: set[str] = LICENCES, used: Sequence[str] = ()
) -> list[Icon]:
    """Collect all icons named like a class, from sets with a free licence and an address where it stands."""
    found = []
    for name, about in about_sets.items():
        licence = about["license"]
        free = licence.get("spdx") in licences and licence.get("url")
        if not free or about.get("category") in CATEGORIES_LEFT_OUT or family_of(name) in used:
            continue
        icon_set = json.loads((iconify / "json" / f"{name}.json").read_text("utf-8"))
        default = {"left": 0, "top": 0, "width": 16, "height": 16} | icon_set
        for icon_name, icon in icon_set["icons"].items():
            if not icon.get("hidden"):
                box = tuple(icon.get(key, default[key]) for key in ("left", "top", "width", "height"))
                found.append((name, icon_name, box, icon["body"], bool(about.get("palette"))))
    return _named(found)


def find_files(folder: Path) -> Iterator[tuple[str, str, tuple[float, ...], str, bool]]:
    """Collect what SVG files and SVG fonts draw, from a folder with a folder for each set."""
    for path in sorted(folder.rglob("*.svg")):
        icon_set, text = path.relative_to(folder).parts[0], path.read_text("utf-8")
        for glyph in re.findall("<glyph [^>]+>", text):
            about = dict(re.findall('([a-z-]+)="([^"]*)"', glyph))
            if about.keys() >= {"glyph-name", "horiz-adv-x"}:
                body = f'<path transform="matrix(1 0 0 -1 0 960)" d="{about["d"]}"/>'
                yield icon_set, about["glyph-name"], (0, 0, float(about["horiz-adv-x"]), 1024), body, False
        drawn = re.search('<svg([^>]*viewBox="([^"]+)"[^>]*)>(.*)</svg>', text, re.DOTALL)
        if drawn:
            style = " ".join(re.findall('(?:fill|stroke)[a-z-]*="[^"]*"', drawn[1]))
            name = re.sub("[^a-z0-9]+", "-", path.stem.lower())
            yield icon_set, name, tuple(map(float, drawn[2].split())), f"<g {style}>{drawn[3]}</g>", False


def _named(found: Iterable[tuple[str, str, tuple[float, ...], str, bool]]) -> list[Icon]:
    """Keep of set, name, box, body and coloured what is named like a class."""
    named = ((icon_set, name, base_name(name), *rest) for icon_set, name, *rest in found)
    return [Icon(s, n, CLASS[b], b, family_of(s), *rest) for s, n, b, *rest in named if b in CLASS]


def hash_number(text: str, digits: int) -> int:
    """Turn a text into a number that is the same everywhere: the first hex digits of its SHA-256."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:digits], 16)


def draw(icon: Icon, longest: float) -> Image.Image | None:
    """Draw an icon in RGB on white, so many pixels long, and cut it to its ink (None: next to none)."""
    import resvg_py

    left, top, width, height = icon.box
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{left} {top} {width} {height}" width="{width}" height="{height}" color="#000">'
        f"{icon.body}</svg>"
    ).replace("currentColor", "#000")
    zoom = longest / max(width, height)
    png = resvg_py.svg_to_bytes(svg_string=svg, zoom=zoom, background="#ffffff", skip_system_fonts=True)
    picture = Image.open(io.BytesIO(bytes(png))).convert("RGB")
    ink = (np.asarray(picture) < 245).any(axis=2)  # in any channel: a light colour is ink, too
    if ink.sum() < 8:
        return None
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    left, top = max(columns[0] - 1, 0), max(rows[0] - 1, 0)
    return picture.crop((left, top, min(columns[-1] + 2, picture.width), min(rows[-1] + 2, picture.height)))


def signature(picture: Image.Image) -> np.ndarray:
    """Reduce a picture to 16×16 grey values between 0 and 1: what near-duplicates are compared by."""
    side = max(picture.size)
    square = Image.new("RGB", (side, side), "white")
    square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    method = Image.Resampling.BOX if side >= 16 else Image.Resampling.BICUBIC
    return np.asarray(square.resize((16, 16), method).convert("L"), np.float32) / 255


def encode(icon: Icon) -> bytes:
    """Draw an icon in its final size, a multiple of its grid, and give it as PNG: grey, or 32 colours."""
    grid = min(max(float(icon.box[3]), 15), 48)
    multiple = (1, 1.5, 2, 3, 4)[hash_number(icon.set + icon.name + "size", 8) % 5]
    picture = draw(icon, min(max(round(grid * multiple), 20), 128))
    grey = not icon.coloured and np.asarray(picture).std(axis=2).max() < 3
    small = picture.convert("L") if grey else picture.quantize(32, method=2, dither=0)
    buffer = io.BytesIO()
    small.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def choose_icons(
    icons: list[Icon], most: int = PER_CLASS_AND_FAMILY, earlier: Sequence[np.ndarray] = ()
) -> list[Icon]:
    """Leave out what cannot be drawn, what is wrong, near-duplicates, and what a class has too much of.

    Duplicates are looked for in all families together, and among the signatures of `earlier` pictures: no
    drawing may be in training and test.
    """
    kept, signatures, taken = [], list(earlier), collections.Counter()
    for icon in sorted(filter(is_wanted, icons), key=lambda icon: hash_number(f"{icon.set}:{icon.name}", 12)):
        if taken[icon.label, icon.family] >= most:
            continue
        try:
            drawn = draw(icon, 128)
        except Exception as error:  # an SVG that is not valid
            print(f"{icon.set}:{icon.name} left out: {error}")
            continue
        if drawn is None or min(drawn.size) < 6:
            continue
        new = signature(drawn)
        if signatures and np.abs(np.stack(signatures) - new).mean(axis=(1, 2)).min() < MIN_DIFFERENCE:
            continue
        kept.append(icon)
        signatures.append(new)
        taken[icon.label, icon.family] += 1
    by_class = {c: [icon for icon in kept if icon.label == c][:PER_CLASS] for c in VOC_CLASSES}
    return [icon for icon in kept if icon in by_class[icon.label]]


def split_families(icons: list[Icon]) -> np.ndarray:
    """Choose the families for the test: True for their icons."""
    labels = np.array([VOC_CLASSES.index(icon.label) for icon in icons])
    families = np.array([icon.family for icon in icons])
    n_groups = int(len(set(families)) * TEST_FAMILIES)
    return hold_out_groups(labels, families, TEST_SHARE, tries=4000, n_groups=n_groups)


def make(iconify: Path, packages: Path, out: Path) -> None:
    """Make the zips, whose bytes depend on nothing else, and the table of all sets in the folder `out`."""
    about_sets = json.loads((iconify / "collections.json").read_text("utf-8"))
    chosen = choose_icons(find_icons(iconify, about_sets))
    places = np.where(split_families(chosen), "test", "train").tolist()
    # sealed: families that have no picture among these, nor had one in an older version
    used = {*(icon.family for icon in chosen), *RULES["sealed"]["left_out"]}
    more = find_icons(iconify, about_sets, LICENCES | set(RULES["sealed"]["licences"]), used)
    named = {(icon.set, icon.name): icon for icon in more + _named(find_files(packages))}
    earlier = [signature(draw(icon, 128)) for icon in chosen]
    sealed = choose_icons(list(named.values()), SEALED_PER_CLASS_AND_FAMILY, earlier)
    rows = [*zip(places, chosen, strict=True), *(("sealed", icon) for icon in sealed)]
    for name, part in (("pictograms20", rows[: len(chosen)]), ("sealed", rows[len(chosen) :])):
        with zipfile.ZipFile(out / f"{name}.zip", "w", zipfile.ZIP_STORED) as archive:
            for place, icon in part:
                file = f"{place}/{icon.label}/{icon.set}__{icon.name}.png"
                archive.writestr(zipfile.ZipInfo(file, (1980, 1, 1, 0, 0, 0)), encode(icon))
    about_sets |= RULES["sealed"]["packages"]
    number = collections.Counter(icon.set for _, icon in rows)
    place_of = {icon.set: place for place, icon in rows}
    with (out / "ATTRIBUTION.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS.split(","))
        for name in sorted(number):
            about = about_sets[name]
            author, licence = about["author"], about["license"]
            who = (about["name"], family_of(name), place_of[name], author["name"], author.get("url", ""))
            terms = (licence["spdx"], licence.get("url", ""), about.get("version", ""))
            table.writerow((name, *who, *terms, number[name]))


if __name__ == "__main__":
    make(*map(Path, sys.argv[1:]))
