"""A small folder laid out like Pascal VOC 2007: no network is needed."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

NAMES = ("cat", "cow", "person")
OBJECT = """<object><name>{}</name><difficult>{:d}</difficult><bndbox><xmin>{}</xmin><ymin>{}</ymin>
<xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"""


class Object(NamedTuple):
    """An object as the fake annotations have it: its box counts from 1, both ends included."""

    image_set: str
    photograph: str
    name: str
    box: tuple[int, int, int, int]
    difficult: bool


def fake_devkit(root: Path, n_trainval: int = 12, n_test: int = 4) -> list[Object]:
    """Write ``VOCdevkit/VOC2007`` with photographs of nothing, and return what is said to be in them."""
    rng = np.random.default_rng(0)
    base = root / "VOCdevkit" / "VOC2007"
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (base / folder).mkdir(parents=True, exist_ok=True)
    objects = []
    numbers: dict[str, list[str]] = {"trainval": [], "test": []}
    for k in range(n_trainval + n_test):
        image_set, number = "trainval" if k < n_trainval else "test", f"{k + 1:06d}"
        numbers[image_set].append(number)
        w, h = [(160, 120), (120, 160), (150, 100)][k % 3]
        photograph = Image.fromarray(rng.integers(0, 256, (h, w, 3), dtype=np.uint8))
        photograph.save(base / "JPEGImages" / f"{number}.jpg", quality=90)
        for j in range(1 + k % 3):  # the last object of every third photograph is difficult
            side = rng.integers(30, 91, 2)
            x, y = rng.integers(0, (w, h) - side + 1) + 1
            box = tuple(map(int, (x, y, x + side[0] - 1, y + side[1] - 1)))
            objects.append(Object(image_set, number, NAMES[(k + j) % 3], box, j == 2))
        text = "".join(OBJECT.format(o.name, o.difficult, *o.box) for o in objects if o.photograph == number)
        (base / "Annotations" / f"{number}.xml").write_text(f"<annotation>{text}</annotation>")
    for image_set, listed in numbers.items():
        (base / "ImageSets" / "Main" / f"{image_set}.txt").write_text("\n".join(listed) + "\n")
    return objects
