"""A small folder laid out like Pascal VOC 2007: no network is needed."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from l2lab.data import load_pictograms20

VOC_NAMES = ("cat", "cow", "person")


class Object(NamedTuple):
    """An object as the fake annotations have it: its box counts from 1, both ends included."""

    image_set: str
    photograph: str
    name: str
    box: tuple[int, int, int, int]
    difficult: bool


def fake_devkit(root: Path, n_trainval: int = 12, n_test: int = 4, seed: int = 0) -> list[Object]:
    """Write ``VOCdevkit/VOC2007`` with photographs that show pictograms, and return what is in them."""
    rng = np.random.default_rng(seed)
    icons = load_pictograms20()
    base = root / "VOCdevkit" / "VOC2007"
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (base / folder).mkdir(parents=True, exist_ok=True)
    objects = []
    numbers: dict[str, list[str]] = {"trainval": [], "test": []}
    for k in range(n_trainval + n_test):
        image_set, number = "trainval" if k < n_trainval else "test", f"{k + 1:06d}"
        numbers[image_set].append(number)
        width, height = [(160, 120), (120, 160), (150, 100)][k % 3]
        photograph = Image.fromarray(rng.integers(120, 256, (height, width, 3), dtype=np.uint8))
        text = ""
        # The last object of every third photograph is difficult.
        for j in range(1 + k % 3):
            name = VOC_NAMES[(k + j) % len(VOC_NAMES)]
            rows = np.flatnonzero(icons["test"].labels == icons.classes.index(name))
            icon = icons["test"].pictures[rng.choice(rows)].convert("RGB")
            icon.thumbnail((90, 90))
            x, y = (int(rng.integers(0, photograph.size[i] - icon.size[i] + 1)) for i in (0, 1))
            photograph.paste(icon, (x, y))
            box = (x + 1, y + 1, x + icon.width, y + icon.height)
            difficult = j == 2
            objects.append(Object(image_set, number, name, box, difficult))
            corners = zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
            found = "".join(f"<{corner}>{value}</{corner}>" for corner, value in corners)
            text += f"<object><name>{name}</name><difficult>{int(difficult)}</difficult>"
            text += f"<bndbox>{found}</bndbox></object>"
        photograph.save(base / "JPEGImages" / f"{number}.jpg", quality=90)
        (base / "Annotations" / f"{number}.xml").write_text(f"<annotation>{text}</annotation>")
    for image_set, listed in numbers.items():
        (base / "ImageSets" / "Main" / f"{image_set}.txt").write_text("\n".join(listed) + "\n")
    return objects
