"""Photographs of different sizes: objects of Pascal VOC 2007, and the 20 largest classes of Caltech-101.

Nothing is shipped: the photographs belong to others. torchvision fetches them once and checks their MD5.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
from PIL import Image

from ..progress import progress_bar
from .images import (
    VOC_CLASSES,
    PictureSet,
    PictureSplit,
    flatten,
    hold_out_groups,
    open_picture,
    resize,
    split_of,
)

# Longest side of a crop or a picture in pixels; larger ones are reduced.
SIZE_CAP = 128
# Objects with a shorter side of fewer pixels are left out.
MIN_SIDE = 32
# Margin on every side of a crop, as a share of the box.
MARGIN = 0.05
# Crops of a class that are kept, in trainval and again in test; without it a third of all would be persons.
MAX_PER_CLASS = 600


def load_voc2007(root: str | Path = "data/voc2007", seed: int = 0) -> PictureSet:
    """Objects cut from the photographs of Pascal VOC 2007: 20 classes, every crop of its own size.

    Objects that VOC marks as difficult are left out, and small ones. Training and validation crops come from
    the official image set "trainval" and share no photograph, test crops come from the image set "test".

    Parameters
    ----------
    root : str or Path
        Folder that holds ``VOCdevkit``, or shall hold it; the two archives may be put there by hand.
    seed : int, default 0
        Draws the crops that are kept of large classes, and the photographs for validation.

    Returns
    -------
    PictureSet
        With the splits "train", "valid" and "test"; `groups` are the numbers of the photographs.

    Notes
    -----
    Everingham et al., "The PASCAL Visual Object Classes Challenge", IJCV 88 (2010). The photographs are from
    Flickr and under its terms: do not pass the crops on.
    """
    rest, test = (_voc_crops(Path(root), image_set, seed) for image_set in ("trainval", "test"))
    held_out = hold_out_groups(rest.labels, rest.groups, 0.2, seed=seed, tries=100)
    splits = {"train": rest.take(~held_out), "valid": rest.take(held_out), "test": test}
    return PictureSet("voc2007", VOC_CLASSES, splits)


def _voc_crops(root: Path, image_set: str, seed: int) -> PictureSplit:
    from torchvision.datasets import VOCDetection

    listed = root / "VOCdevkit" / "VOC2007" / "ImageSets" / "Main" / f"{image_set}.txt"
    photographs = VOCDetection(root, year="2007", image_set=image_set, download=not listed.exists())
    objects = []
    for photograph, annotation in enumerate(photographs.annotations):
        content = photographs.parse_voc_xml(ET.parse(annotation).getroot())
        for thing in content["annotation"]["object"]:
            x0, y0, x1, y1 = (float(thing["bndbox"][key]) for key in ("xmin", "ymin", "xmax", "ymax"))
            box = (x0 - 1, y0 - 1, x1, y1)  # as Pillow counts: from 0, the end left out
            if thing.get("difficult") != "1" and min(box[2] - box[0], box[3] - box[1]) >= MIN_SIDE:
                objects.append((photograph, VOC_CLASSES.index(thing["name"]), box))
    kept: list[int] = []
    counts = [0] * len(VOC_CLASSES)
    for i in np.random.default_rng(seed).permutation(len(objects)).tolist():
        label = objects[i][1]
        if counts[label] < MAX_PER_CLASS:
            counts[label] += 1
            kept.append(i)
    by_photograph: dict[int, list] = {}
    for photograph, *crop in (objects[i] for i in sorted(kept)):
        by_photograph.setdefault(photograph, []).append(crop)
    rows = []
    with progress_bar(len(by_photograph), True, f"crops of {image_set}", "photo") as advance:
        for photograph, crops in by_photograph.items():
            advance(1)
            path = Path(photographs.images[photograph])
            picture = flatten(open_picture(path), 3)
            for label, box in crops:
                x0, y0, x1, y1 = _padded(box, picture.size)
                crop = _capped(picture.crop((x0, y0, x1, y1)))
                rows.append((crop, label, path.stem, f"{path.name} {x0},{y0}–{x1},{y1}"))
    return split_of(rows)


def _padded(box: tuple[float, float, float, float], size: tuple[int, int]) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = box
    dx, dy = MARGIN * (x1 - x0), MARGIN * (y1 - y0)
    w, h = size
    return max(0, int(x0 - dx)), max(0, int(y0 - dy)), min(w, round(x1 + dx)), min(h, round(y1 + dy))


def _capped(picture: Image.Image) -> Image.Image:
    return picture if max(picture.size) <= SIZE_CAP else resize(picture, SIZE_CAP)


def load_caltech101(root: str | Path = "data/caltech101", n_classes: int = 20, seed: int = 0) -> PictureSet:
    """The largest classes of Caltech-101: photographs of one object each, of different sizes.

    The background class and "Faces_easy" (the same faces as in "Faces", cut closely) are left out. There is
    no official split: of every class 60 % are for training, 20 % for validation and 20 % for testing.

    Parameters
    ----------
    root : str or Path
        Folder that holds ``caltech101``, or shall hold it.
    n_classes : int, default 20
        Number of classes, the largest first; they are numbered in alphabetical order.
    seed : int, default 0
        Draws the split.

    Returns
    -------
    PictureSet
        With the splits "train", "valid" and "test"; every photograph is its own group.

    Notes
    -----
    Li, Andreeto, Ranzato and Perona, "Caltech 101", CaltechDATA (2022).
    """
    from torchvision.datasets import Caltech101

    pictures = Caltech101(root, download=True)  # only if the folder is not there
    sizes = np.bincount(pictures.y, minlength=len(pictures.categories))
    names = [name for name in pictures.categories if name != "Faces_easy"]
    names = sorted(names, key=lambda name: -sizes[pictures.categories.index(name)])[:n_classes]
    names = tuple(sorted(names))
    rows = []
    with progress_bar(len(pictures), True, "pictures", "photo") as advance:
        for category, index in zip(pictures.y, pictures.index, strict=True):
            advance(1)
            name = pictures.categories[category]
            if name in names:
                source = f"{name}/image_{index:04d}.jpg"
                picture = flatten(open_picture(Path(pictures.root) / "101_ObjectCategories" / source), 3)
                rows.append((_capped(picture), names.index(name), source, source))
    everything = split_of(rows)
    test = _hold_out_rows(everything.labels, 0.2, seed)
    rest = everything.take(~test)
    valid = _hold_out_rows(rest.labels, 0.25, seed)
    splits = {"train": rest.take(~valid), "valid": rest.take(valid), "test": everything.take(test)}
    return PictureSet("caltech101", names, splits)


def _hold_out_rows(labels: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Draw the same share of every class, at least one row and never all."""
    rng = np.random.default_rng(seed)
    held_out = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        held_out[rows[: min(max(1, round(fraction * len(rows))), len(rows) - 1)]] = True
    return held_out
